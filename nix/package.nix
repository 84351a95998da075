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
  installShellFiles,
  # Manual pages and completions, where the tree has what writes them. It is a program for the build machine, which a static toolchain does not make.
  withManual ? builtins.pathExists ../examples/package_files.rs && !stdenv.hostPlatform.isStatic,
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
    fileset = lib.fileset.unions (
      [
        ../Cargo.toml
        ../Cargo.lock
        ../src
        ../tests/geoip.rs
        ../agent.example.yaml
      ]
      ++ lib.optional withManual ../examples/package_files.rs
    );
  };

  cargoLock.lockFile = ../Cargo.lock;
  buildFeatures = lib.optional withGeoip "geoip";
  cargoBuildFlags = [
    "--bin"
    "lugger"
  ];

  # The project's tests want Docker, journald and the like; `tests/run` runs them on a host.
  doCheck = false;

  nativeBuildInputs = lib.optional withManual installShellFiles;
  # Not with the release's profile: it runs once.
  postBuild = lib.optionalString withManual ''
    cargo run --offline --example package_files -- package-files
  '';

  postInstall = ''
    install -D -m 644 agent.example.yaml $out/share/doc/lugger/agent.example.yaml
  ''
  + lib.optionalString withManual ''
    installManPage package-files/*.[15]
    installShellCompletion --cmd lugger --bash package-files/lugger.bash --zsh package-files/_lugger --fish package-files/lugger.fish
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
