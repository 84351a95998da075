# Adds `lugger` and `lugger-static` to nixpkgs.
final: _previous: {
  lugger = final.callPackage ./package.nix { };
  lugger-static = final.pkgsStatic.callPackage ./package.nix { };
}
