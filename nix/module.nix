# NixOS module: services.lugger. README.md beside this file has examples and every option.
{
  config,
  lib,
  options,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.lugger;
  yaml = pkgs.formats.yaml { };
  listeners = import ./listeners.nix { inherit lib; };

  inherit (lib) mkOption types;

  # Without what nobody set: the program has defaults of its own.
  settings = lib.filterAttrs (_: value: value != null && value != [ ] && value != { }) cfg.settings;

  # A derivation is a file.
  isTree = builtins.isAttrs cfg.promtailConfig && !(cfg.promtailConfig ? outPath);
  # Where NixOS's Promtail had its positions unless somebody said otherwise: `services.promtail.configuration` as it was written names no file.
  promtailTree = cfg.promtailConfig // {
    positions = {
      filename = "/var/cache/promtail/positions.yaml";
    }
    // (cfg.promtailConfig.positions or { });
  };
  generated =
    if cfg.settings != null then
      yaml.generate "lugger-agent.yaml" settings
    else if isTree then
      yaml.generate "lugger-promtail.yaml" promtailTree
    else if cfg.promtailConfig != null then
      cfg.promtailConfig
    else
      cfg.configFile;

  # A file outside the store is there only when the service starts.
  isInStore = cfg.settings != null || isTree || builtins.isPath generated || lib.hasPrefix builtins.storeDir (toString generated);

  checked = pkgs.runCommand "lugger-checked.yaml" {
    nativeBuildInputs = [ cfg.package ];
    preferLocalBuild = true;
    # For `location` in stages.
    TZDIR = "${pkgs.tzdata}/share/zoneinfo";
  } ''
    lugger check --elsewhere --config ${generated}
    cp ${generated} $out
  '';

  source = if cfg.checkConfig && isInStore then checked else generated;

  logs = if cfg.settings != null then builtins.filter builtins.isAttrs (cfg.settings.logs or [ ]) else [ ];
  jobs =
    if isTree then builtins.filter builtins.isAttrs (cfg.promtailConfig.scrape_configs or [ ]) else [ ];

  # A configuration that cannot be looked into may have everything.
  isOpaque = cfg.settings == null && !isTree;
  readsJournal = isOpaque || builtins.any (entry: entry ? journal) (logs ++ jobs);
  measuresHost = cfg.settings != null && (cfg.settings.metrics.host or null) != null;

  isSocket = host: !(lib.hasPrefix "tcp://" host);
  readsDocker =
    builtins.any (entry: entry ? docker && isSocket (entry.docker.host or "unix://")) logs
    || builtins.any (job: builtins.any (sd: isSocket (sd.host or "unix://")) (job.docker_sd_configs or [ ])) jobs;
  mayReadDocker = cfg.dockerAccess || builtins.elem "docker" cfg.extraGroups || builtins.elem "podman" cfg.extraGroups;

  found =
    if cfg.settings != null then
      listeners.native settings
    else if isTree then
      listeners.promtail cfg.promtailConfig
    else
      [ ];
  reachable = builtins.filter (listener: !listener.isLocal) found;
  portsOf =
    protocol: map (listener: listener.port) (builtins.filter (listener: listener.protocol == protocol) reachable);
  ports = {
    tcp = lib.unique (portsOf "tcp" ++ cfg.firewallPorts.tcp);
    udp = lib.unique (portsOf "udp" ++ cfg.firewallPorts.udp);
  };
  listens = map (listener: listener.port) found ++ cfg.firewallPorts.tcp ++ cfg.firewallPorts.udp;

  # In releases that no longer have Promtail there is no such option.
  promtailRuns = options ? services.promtail.enable && config.services.promtail.enable;
  imported = if cfg.settings != null then cfg.settings.import_positions or [ ] else [ ];
  positionsFiles = lib.unique (
    cfg.positionsFiles
    ++ (if builtins.isList imported then imported else [ imported ])
    ++ lib.optional isTree promtailTree.positions.filename
  );
  takesOver = cfg.promtailConfig != null || positionsFiles != [ ];

  isLiteral = value: builtins.isString value && !(lib.hasInfix "\${" value);
  endpoints = if cfg.settings != null then cfg.settings.loki ++ (cfg.settings.remote_write or [ ]) else [ ];
  literalSecrets = builtins.filter (
    endpoint: isLiteral (endpoint.bearer_token or null) || isLiteral (endpoint.basic_auth.password or null)
  ) endpoints;

  given = lib.count (value: value != null) [
    cfg.settings
    cfg.configFile
    cfg.promtailConfig
  ];
in
{
  options.services.lugger = {
    enable = lib.mkEnableOption "lugger, which carries this host's logs to Loki";

    package = mkOption {
      type = types.package;
      default = pkgs.lugger or (pkgs.callPackage ./package.nix { });
      defaultText = lib.literalExpression "pkgs.lugger";
      description = "The package whose `lugger` runs, and checks the configuration when the system is built.";
    };

    settings = mkOption {
      type = types.nullOr (
        types.submodule {
          freeformType = yaml.type;
          options = {
            labels = mkOption {
              type = types.attrsOf yaml.type;
              default = { };
              example = {
                host = "\${HOSTNAME}";
              };
              description = "Labels on every stream.";
            };
            loki = mkOption {
              type = types.listOf (types.attrsOf yaml.type);
              default = [ ];
              example = [ { url = "https://loki.example.org"; } ];
              description = "Where logs go.";
            };
            logs = mkOption {
              type = types.listOf (types.attrsOf yaml.type);
              default = [ ];
              example = [
                {
                  journal = { };
                  labels.job = "journal";
                }
              ];
              description = "Where logs come from.";
            };
            http = mkOption {
              type = types.attrsOf yaml.type;
              default = { };
              example = {
                listen = "127.0.0.1:9080";
              };
              description = "Where the status page, `/ready` and `/metrics` are served.";
            };
          };
        }
      );
      default = null;
      example = lib.literalExpression ''
        {
          labels.host = "\''${HOSTNAME}";
          loki = [ { url = "https://loki.example.org"; basic_auth = { username = "edge"; password_file = "\''${CREDENTIALS_DIRECTORY}/loki"; }; } ];
          logs = [ { journal = { }; labels.job = "journal"; } ];
        }
      '';
      description = ''
        The configuration. Every key of {file}`agent.example.yaml` may be given, also those that are no options here. It becomes a file in
        the Nix store, which everybody on the host can read: put no secrets into it, but use
        {option}`services.lugger.credentials` or {option}`services.lugger.environmentFile`.
      '';
    };

    configFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/lugger.yaml";
      description = ''
        A configuration file, in the place of {option}`services.lugger.settings`. One outside the Nix store is not checked when
        the system is built.
      '';
    };

    promtailConfig = mkOption {
      type = types.nullOr (types.either types.path (types.attrsOf yaml.type));
      default = null;
      example = lib.literalExpression "./promtail.yaml";
      description = ''
        A Promtail configuration, as a file or as the value that `services.promtail.configuration` had. lugger runs it as it is, and
        takes Promtail's positions over at its first start. A value without `positions.filename` gets
        {file}`/var/cache/promtail/positions.yaml`, as it had from NixOS.
      '';
    };

    checkConfig = mkOption {
      type = types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalMD "`true`, unless the system is built for a machine that the build machine cannot run programs of";
      description = ''
        Whether the configuration is checked when the system is built, by `lugger check --elsewhere`. Files and environment variables
        that only the running host has are not asked for then.
      '';
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/lugger.env";
      description = "A file of environment variables, which the configuration has as `\${NAME}`.";
    };

    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        loki = "/run/secrets/loki-password";
      };
      description = ''
        Files with secrets, which systemd reads as root and hands to the service. The configuration finds the one of the name `loki` as
        `''${CREDENTIALS_DIRECTORY}/loki`, in options such as `password_file`. A changed file is seen after a restart of the service.
      '';
    };

    positionsFiles = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "/var/cache/promtail/positions.yaml" ];
      description = ''
        Positions files of Promtail, which only its own user can read: they are made readable for lugger's group before it starts. Those in
        `settings.import_positions`, and in `positions.filename` of {option}`services.lugger.promtailConfig` as a value, are among them by themselves; name
        the one of a configuration that is a file.
      '';
    };

    extraGroups = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "nginx" ];
      description = ''
        Further groups of the service, so that it can read log files. `systemd-journal` is there by itself where the journal is read.
      '';
    };

    dockerAccess = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the service may use Docker's socket, as a member of the group `docker`. Whoever is in that group can become root.
      '';
    };

    extraFlags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--log-level=debug" ];
      description = "Further options of `lugger run`.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the firewall lets through what other hosts send: to the ports of `syslog`, `push` and `gelf` sources that listen not on loopback
        alone, and to {option}`services.lugger.firewallPorts`. The status page's port stays closed.
      '';
    };

    firewallPorts.tcp = mkOption {
      type = types.listOf types.port;
      default = [ ];
      example = [ 6514 ];
      description = "TCP ports of listeners in a configuration that is a file, and so cannot be looked into.";
    };

    firewallPorts.udp = mkOption {
      type = types.listOf types.port;
      default = [ ];
      example = [ 514 ];
      description = "The same for UDP.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = given == 1;
        message =
          "services.lugger needs exactly one of `settings`, `configFile` and `promtailConfig`; "
          + (if given == 0 then "none is set. The shortest is settings = { loki = [ { url = \"http://127.0.0.1:3100\"; } ]; logs = [ { journal = { }; labels.job = \"journal\"; } ]; }." else "${toString given} are set. Remove what is not meant.");
      }
      {
        assertion = !(takesOver && promtailRuns);
        message = "services.lugger takes over from Promtail, and services.promtail is enabled: every line would be sent twice. Set services.promtail.enable = false; its positions stay where they are.";
      }
      {
        assertion = !readsDocker || mayReadDocker;
        message = "services.lugger reads containers by Docker's socket, which it may not use. Set services.lugger.dockerAccess = true (whoever is in the group `docker` can become root), or add the group of another socket to services.lugger.extraGroups.";
      }
      {
        assertion = !cfg.openFirewall || ports.tcp != [ ] || ports.udp != [ ];
        message = "services.lugger.openFirewall is set, but nothing in the configuration is known to listen for other hosts. Name the ports in services.lugger.firewallPorts, or remove openFirewall.";
      }
      {
        assertion =
          cfg.settings == null
          || (cfg.settings.state_dir or null) == null
          || cfg.settings.state_dir == "/var/lib/lugger"
          || lib.hasPrefix "/var/lib/lugger/" cfg.settings.state_dir;
        message = "services.lugger.settings.state_dir has to be /var/lib/lugger or below it: the service may write nowhere else. Remove it; that directory is the default.";
      }
      {
        assertion = !(builtins.any (entry: entry ? stdin) logs);
        message = "services.lugger.settings.logs has a `stdin` source, but a service has no stdin. Run `lugger run` behind the program instead.";
      }
      {
        assertion = builtins.all (name: builtins.match "[A-Za-z0-9_.-]+" name != null) (builtins.attrNames cfg.credentials);
        message = "services.lugger.credentials: a name has letters, digits and . _ - only, as it is a file's name: ${toString (builtins.attrNames cfg.credentials)}.";
      }
      {
        assertion = builtins.all (path: lib.hasPrefix "/" path && !(lib.hasPrefix builtins.storeDir path)) (
          builtins.attrValues cfg.credentials
        );
        message = "services.lugger.credentials: each is the absolute path of a file outside the Nix store, which everybody can read. Write it as a string, such as \"/run/secrets/loki\".";
      }
    ];

    warnings = lib.optional (literalSecrets != [ ]) (
      "services.lugger.settings has a password or token as text, which everybody on the host can read in the Nix store. "
      + "Put it into a file, name that in services.lugger.credentials, and use password_file or bearer_token_file."
    );

    environment.systemPackages = [ cfg.package ];
    # Always at the same place, so that a change is a reload, which loses nothing and closes no socket, and that `lugger check` finds it.
    environment.etc."lugger/agent.yaml".source = source;

    users.groups.lugger = { };
    users.users.lugger = {
      description = "lugger, the log agent";
      isSystemUser = true;
      group = "lugger";
    };

    networking.firewall = lib.mkIf cfg.openFirewall {
      allowedTCPPorts = ports.tcp;
      allowedUDPPorts = ports.udp;
    };

    systemd.services.lugger = {
      description = "Log agent: this host's logs to Loki";
      wantedBy = [ "multi-user.target" ];
      # After Promtail has stopped: then its last positions are written.
      after = [ "network.target" ] ++ lib.optional takesOver "promtail.service";
      conflicts = lib.optional takesOver "promtail.service";
      reloadTriggers = [ source ];
      startLimitIntervalSec = 300;
      startLimitBurst = 10;
      # It is restarted in one go, and not away while other units change.
      stopIfChanged = false;

      serviceConfig =
        import ./hardening.nix {
          inherit measuresHost;
          lowPorts = builtins.any (port: port < 1024) listens;
        }
        // {
          Type = "notify";
          NotifyAccess = "main";
          ExecStart = utils.escapeSystemdExecArgs (
            [
              (lib.getExe cfg.package)
              "run"
              "--config"
              "/etc/lugger/agent.yaml"
            ]
            ++ cfg.extraFlags
          );
          # A configuration with an error fails the reload, with its report in the journal, and the one before runs on.
          ExecReload = [
            (utils.escapeSystemdExecArgs [
              (lib.getExe cfg.package)
              "check"
              "--config"
              "/etc/lugger/agent.yaml"
            ])
            "${pkgs.coreutils}/bin/kill -HUP $MAINPID"
          ];
          Restart = "on-failure";
          RestartSec = 5;
          # A stop takes five seconds at most.
          TimeoutStopSec = 10;
          WatchdogSec = 60;

          # The host comes first. Memory is bounded by `limits.memory` already.
          MemoryMax = "512M";
          CPUWeight = 50;
          IOWeight = 50;
          TasksMax = 128;
          LimitNOFILE = 524288;

          User = "lugger";
          Group = "lugger";
          SupplementaryGroups =
            lib.optional readsJournal "systemd-journal" ++ lib.optional cfg.dockerAccess "docker" ++ cfg.extraGroups;
          StateDirectory = "lugger";
          StateDirectoryMode = "0700";
          # For sockets such as unixgram:///run/lugger/log.
          RuntimeDirectory = "lugger";
        }
        // lib.optionalAttrs (cfg.credentials != { }) {
          LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
        }
        // lib.optionalAttrs (cfg.environmentFile != null) { EnvironmentFile = cfg.environmentFile; }
        // lib.optionalAttrs (positionsFiles != [ ]) {
          # As root. Neither changes when the file was written, which lugger goes by.
          ExecStartPre = map (
            file:
            "+${pkgs.runtimeShell} -c "
            + utils.escapeSystemdExecArg "test ! -e ${lib.escapeShellArg file} || { ${pkgs.coreutils}/bin/chgrp lugger ${lib.escapeShellArg file} && ${pkgs.coreutils}/bin/chmod g+r ${lib.escapeShellArg file}; }"
          ) positionsFiles;
        };
    };
  };
}
