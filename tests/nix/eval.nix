# What the module makes of a configuration of NixOS, as a value without functions, for tests/nix.rs.
#
#   nix-instantiate --eval --strict --json tests/nix/eval.nix --argstr case NAME
{ case }:
let
  lib = import ./lib.nix;
  standIns = import ./stand-ins.nix { inherit lib; };
  evaluate =
    modules:
    lib.evalModules {
      modules = [
        (import ../../nix/module.nix)
        standIns.nixos
      ]
      ++ modules;
      specialArgs = { inherit (standIns) pkgs utils; };
    };
  outcome =
    modules:
    let
      inherit (evaluate modules) config;
      failed = builtins.filter (one: !one.assertion) config.assertions;
    in
    {
      messages = map (one: one.message) failed;
      inherit (config) warnings;
    }
    # As in NixOS: a system whose assertions fail is not built.
    // lib.optionalAttrs (failed == [ ] && config.services.lugger.enable) {
      unit = config.systemd.services.lugger;
      source = builtins.removeAttrs (
        let
          inherit (config.environment.etc."lugger/agent.yaml") source;
        in
        if builtins.isAttrs source then source else { path = toString source; }
      ) [ "outPath" ];
      firewall = config.networking.firewall;
      users = config.users;
      packages = map (package: package.name) config.environment.systemPackages;
    };

  # Names, types and descriptions of the options.
  describe =
    path: tree:
    builtins.concatLists (
      lib.mapAttrsToList (
        name: option:
        if lib.isOption option then
          [
            {
              name = builtins.concatStringsSep "." (path ++ [ name ]);
              type = option.type.name;
              description = option.description or "";
            }
          ]
        else
          describe (path ++ [ name ]) option
      ) tree
    );

  packageWith =
    more:
    import ../../nix/package.nix (
      {
        inherit (standIns.pkgs)
          lib
          stdenv
          rustPlatform
          installShellFiles
          ;
      }
      // more
    );
  package = packageWith { };
  overlaid = import ../../nix/overlay.nix standIns.pkgs { };
  vm = import ../../nix/test.nix { inherit (standIns) pkgs; };
  flake = import ../../flake.nix;
in
if case == "options" then
  describe [ ] (evaluate [ ]).options.services.lugger
else if case == "package" then
  {
    inherit (package)
      pname
      version
      cargoBuildFlags
      buildFeatures
      meta
      ;
    root = toString package.src.root;
    files = map toString package.src.fileset;
    lock = toString package.cargoLock.lockFile;
    geoip = (packageWith { withGeoip = true; }).buildFeatures;
    manual = map (withManual: (packageWith { inherit withManual; }).postInstall) [
      true
      false
    ];
    overlay = builtins.attrNames overlaid;
    static = overlaid.lugger-static.name;
    vm = {
      inherit (vm) name testScript;
      # The machine's own settings are of NixOS; what it gives to lugger goes through the module.
      lugger =
        outcome [
          standIns.promtail
          { services.lugger = (vm.nodes.machine { inherit (standIns) pkgs; }).services.lugger; }
        ];
    };
    flakeOutputs = builtins.attrNames (
      flake.outputs {
        self = { };
        nixpkgs = { inherit lib; };
      }
    );
  }
else
  outcome (import ./cases.nix { inherit lib standIns; }).${case}
