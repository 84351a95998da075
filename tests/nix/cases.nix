# Configurations of NixOS for tests/nix.rs, each a list of modules.
{ lib, standIns }:
let
  loki = [ { url = "http://127.0.0.1:3100"; } ];
  journal = {
    journal = { };
    labels.job = "journal";
  };
  lugger = services: [ { services.lugger = { enable = true; } // services; } ];
  with' = logs: more: lugger ({ settings = { inherit loki logs; }; checkConfig = false; } // more);
  syslog = listen: {
    syslog = { inherit listen; };
    labels.job = "syslog";
  };
in
{
  disabled = [ { services.lugger.settings = { }; } ];

  # Everything that a host may have, from several modules.
  whole = [
    standIns.promtail
    {
      services.lugger = {
        enable = true;
        checkConfig = false;
        environmentFile = "/run/secrets/lugger.env";
        credentials = {
          loki = "/run/secrets/loki-password";
          syslog-key = "/run/secrets/syslog.key";
        };
        extraGroups = [ "nginx" ];
        dockerAccess = true;
        extraFlags = [
          "--log-level=debug"
          "--log-format=100% $plain"
        ];
        openFirewall = true;
        settings = {
          labels.host = "\${HOSTNAME}";
          import_positions = "/var/cache/promtail/it's.yaml";
          limits.memory = lib.mkDefault "64MiB";
          loki = [
            {
              url = "https://loki.example.org";
              basic_auth = {
                username = "edge";
                password_file = "\${CREDENTIALS_DIRECTORY}/loki";
              };
              headers.X-Site = "\${SITE}";
            }
          ];
          logs = [
            {
              name = "nginx";
              file = {
                include = "/var/log/nginx/*.log";
                start_at = "end";
              };
              labels.job = "nginx";
              format = "nginx";
              stages = [ { drop.longer_than = "8kb"; } ];
            }
            journal
            {
              docker.keep_labels = [ "team" ];
              labels.job = "docker";
            }
            (syslog "udp://0.0.0.0:1514")
          ];
        };
      };
    }
    {
      services.lugger.settings = {
        limits.memory = "96MiB";
        labels.site = lib.mkIf true "home";
        logs = [
          {
            name = "tls";
            syslog = {
              listen = "tls://[::]:6514";
              tls_config = {
                cert_file = "/var/lib/acme/host/cert.pem";
                key_file = "\${CREDENTIALS_DIRECTORY}/syslog-key";
              };
            };
            labels.job = "syslog";
          }
          {
            name = "programs";
            push.listen = "127.0.0.1:3500";
          }
          {
            name = "gelf";
            gelf = { };
            labels.job = "gelf";
          }
        ];
      };
    }
  ];

  files = with' [
    {
      file.include = "/var/log/*.log";
      labels.job = "files";
    }
  ] { };
  checked = lugger { settings = { inherit loki; logs = [ journal ]; }; };
  unchecked = lugger { settings = { inherit loki; logs = [ journal ]; }; checkConfig = false; };
  low-port = with' [ (syslog "udp://0.0.0.0:514") ] { openFirewall = true; };
  host-metrics = lugger {
    checkConfig = false;
    settings = {
      inherit loki;
      logs = [ journal ];
      metrics.host = { };
    };
  };

  # Files.
  config-file = lugger { configFile = ./../../agent.example.yaml; };
  secret-file = lugger {
    configFile = "/run/secrets/lugger.yaml";
    openFirewall = true;
    firewallPorts.udp = [ 514 ];
  };

  # Promtail's.
  promtail-tree = lugger {
    checkConfig = false;
    openFirewall = true;
    promtailConfig = {
      server.http_listen_port = 9080;
      clients = [ { url = "http://127.0.0.1:3100/loki/api/v1/push"; } ];
      scrape_configs = [
        {
          job_name = "system";
          static_configs = [
            {
              targets = [ "localhost" ];
              labels = {
                job = "varlogs";
                __path__ = "/var/log/*log";
              };
            }
          ];
        }
        {
          job_name = "journal";
          journal.labels.job = "journal";
        }
        {
          job_name = "syslog";
          syslog = {
            listen_address = "0.0.0.0:1514";
            listen_protocol = "udp";
            labels.job = "syslog";
          };
        }
        {
          job_name = "push";
          loki_push_api = {
            server.http_listen_port = 3500;
            labels.job = "push";
          };
        }
      ];
    };
  };
  promtail-path = lugger { promtailConfig = ./../../agent.example.yaml; };

  # What is refused.
  nothing = lugger { };
  both = lugger {
    settings = { inherit loki; logs = [ journal ]; };
    configFile = "/etc/x.yaml";
  };
  promtail-runs = [
    standIns.promtail
    { services.promtail.enable = true; }
  ]
  ++ lugger { promtailConfig = "/etc/promtail.yaml"; };
  beside-promtail = [
    standIns.promtail
    { services.promtail.enable = true; }
  ]
  ++ with' [ journal ] { };
  docker-refused = with' [ { docker = { }; labels.job = "docker"; } ] { };
  docker-remote = with' [ { docker.host = "tcp://192.0.2.1:2375"; labels.job = "docker"; } ] { };
  docker-podman = with' [ { docker.host = "unix:///run/podman/podman.sock"; labels.job = "docker"; } ] { extraGroups = [ "podman" ]; };
  no-listener = with' [ (syslog "udp://127.0.0.1:1514") ] { openFirewall = true; };
  state-elsewhere = lugger { settings = { inherit loki; logs = [ journal ]; state_dir = "/srv/lugger"; }; };
  stdin = with' [ { stdin = { }; labels.job = "stdin"; } ] { };
  credential-name = with' [ journal ] { credentials."a:b" = "/run/secrets/x"; };
  credential-in-store = with' [ journal ] { credentials.loki = "${builtins.storeDir}/x"; };
  literal-secret = lugger {
    checkConfig = false;
    settings = {
      loki = [
        {
          url = "https://loki.example.org";
          basic_auth = { username = "edge"; password = "hunter2"; };
        }
      ];
      logs = [ journal ];
    };
  };
  unknown-option = lugger { setings = { }; };
  wrong-type = lugger { settings = { inherit loki; logs = "/var/log/*.log"; }; };
}
