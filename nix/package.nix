# lugger, built from this source tree.
#
#   pkgs.callPackage ./package.nix { }               linked against the C library
#   pkgs.pkgsStatic.callPackage ./package.nix { }    a static binary (musl) for any Linux host
#
# It takes a Rust toolchain as new as `rust-version` in Cargo.toml says.
{
  lib,
  stdenv,
  rustPlatform,
  # The pipeline stage `geoip`.
  withGeoip ? false,
}:
let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # What cargo reads, and no more: other changes of the tree build nothing anew. The manifest names one test.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../src
      ../tests/geoip.rs
      ../agent.example.yaml
    ];
  };

  cargoLock.lockFile = ../Cargo.lock;
  buildFeatures = lib.optional withGeoip "geoip";
  cargoBuildFlags = [
    "--bin"
    "lugger"
  ];

  # The project's tests want Docker, journald and the like; `tests/run` runs them on a host.
  doCheck = false;

  postInstall = ''
    install -D -m 644 agent.example.yaml $out/share/doc/lugger/agent.example.yaml
  '';

  doInstallCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
  installCheckPhase = ''
    runHook preInstallCheck
    test "$($out/bin/lugger --version)" = "lugger ${manifest.version}"
    $out/bin/lugger check --elsewhere --config $out/share/doc/lugger/agent.example.yaml
    runHook postInstallCheck
  '';

  meta = {
    inherit (manifest) description;
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "lugger";
    platforms = lib.platforms.linux;
  };
}
