# Stand-ins for what the module and the package have from nixpkgs beside `lib`: `pkgs`, `utils`, and the options of NixOS that the module sets.
# Options are as strict as those of NixOS: a key that is not there is an error.
{ lib }:
let
  inherit (lib) mkOption types;

  # As it is, without a store: what is read of a derivation is its path.
  derivation =
    name: more:
    more
    // {
      inherit name;
      type = "derivation";
      outPath = "${builtins.storeDir}/00000000000000000000000000000000-${name}";
    };
  program =
    name:
    derivation name {
      meta.mainProgram = name;
    };

  yaml =
    let
      value =
        types.nullOr (
          types.oneOf [
            types.bool
            types.int
            types.float
            types.str
            types.path
            (types.attrsOf value)
            (types.listOf value)
          ]
        )
        // {
          name = "YAML value";
        };
    in
    {
      type = value;
      generate = name: value: derivation name { inherit value; };
    };

  list = type: mkOption { type = types.listOf type; default = [ ]; };
  flag = default: mkOption { type = types.bool; inherit default; };
  text = mkOption { type = types.str; default = ""; };
  open = mkOption { type = types.attrsOf types.anything; default = { }; };
in
rec {
  pkgs = {
    inherit lib;
    lugger = program "lugger";
    coreutils = program "coreutils";
    tzdata = program "tzdata";
    runtimeShell = "/bin/sh";
    formats.yaml = { }: yaml;
    stdenv = {
      buildPlatform.canExecute = _: true;
      hostPlatform.isStatic = false;
    };
    installShellFiles = program "installShellFiles";
    runCommand = name: environment: script: derivation name (environment // { inherit script; });
    rustPlatform.buildRustPackage = attributes: derivation attributes.pname attributes;
    callPackage =
      file: more:
      let
        function = import file;
        wanted = builtins.intersectAttrs (builtins.functionArgs function) (pkgs // { inherit pkgs; });
      in
      function (wanted // more);
    pkgsStatic = pkgs;
    testers.runNixOSTest = test: derivation test.name test;
  };

  utils = rec {
    escapeSystemdExecArg =
      argument: builtins.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (builtins.toJSON (toString argument));
    escapeSystemdExecArgs = arguments: builtins.concatStringsSep " " (map escapeSystemdExecArg arguments);
  };

  nixos = {
    options = {
      assertions = list (types.attrsOf types.anything);
      warnings = list types.str;
      environment.systemPackages = list types.package;
      environment.etc = mkOption {
        type = types.attrsOf (types.submodule { options.source = mkOption { type = types.path; }; });
        default = { };
      };
      networking.firewall.allowedTCPPorts = list types.port;
      networking.firewall.allowedUDPPorts = list types.port;
      users.groups = open;
      users.users = mkOption {
        type = types.attrsOf (
          types.submodule {
            options = {
              description = text;
              group = text;
              isSystemUser = flag false;
            };
          }
        );
        default = { };
      };
      systemd.services = mkOption {
        type = types.attrsOf (
          types.submodule {
            options = {
              description = text;
              wantedBy = list types.str;
              after = list types.str;
              conflicts = list types.str;
              reloadTriggers = list types.path;
              stopIfChanged = flag true;
              startLimitIntervalSec = mkOption { type = types.int; };
              startLimitBurst = mkOption { type = types.int; };
              serviceConfig = open;
            };
          }
        );
        default = { };
      };
    };
  };

  # A release that still has Promtail.
  promtail = {
    options.services.promtail.enable = flag false;
  };
}
