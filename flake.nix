{
  description = "One static agent for a Linux host: its logs to Loki, its metrics to Prometheus remote write";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem =
        make:
        nixpkgs.lib.genAttrs systems (
          system:
          make (
            import nixpkgs {
              inherit system;
              overlays = [ self.overlays.default ];
            }
          )
        );
    in
    {
      overlays.default = import ./nix/overlay.nix;

      packages = eachSystem (pkgs: {
        default = pkgs.lugger;
        inherit (pkgs) lugger lugger-static;
      });

      nixosModules.default = import ./nix/module.nix;

      checks = eachSystem (pkgs: {
        package = pkgs.lugger;
        # A virtual machine: it takes KVM.
        nixos = import ./nix/test.nix { inherit pkgs; };
      });
    };
}
