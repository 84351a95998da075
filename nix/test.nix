# A virtual machine with Loki and Prometheus: lines of a file and of the journal arrive, a reload keeps the process, a restart sends nothing twice.
#
#   nix build .#checks.x86_64-linux.nixos
{ pkgs }:
pkgs.testers.runNixOSTest {
  name = "lugger";

  nodes.machine =
    { pkgs, ... }:
    {
      imports = [ ./module.nix ];

      virtualisation.memorySize = 2048;

      services.loki = {
        enable = true;
        configuration = {
          auth_enabled = false;
          analytics.reporting_enabled = false;
          server.http_listen_port = 3100;
          common = {
            path_prefix = "/var/lib/loki";
            replication_factor = 1;
            ring.kvstore.store = "inmemory";
            ring.instance_addr = "127.0.0.1";
          };
          schema_config.configs = [
            {
              from = "2024-01-01";
              store = "tsdb";
              object_store = "filesystem";
              schema = "v13";
              index = {
                prefix = "index_";
                period = "24h";
              };
            }
          ];
          storage_config.filesystem.directory = "/var/lib/loki/chunks";
        };
      };

      services.prometheus = {
        enable = true;
        globalConfig.scrape_interval = "1s";
        scrapeConfigs = [
          {
            job_name = "lugger";
            static_configs = [ { targets = [ "127.0.0.1:9080" ]; } ];
          }
        ];
      };

      services.lugger = {
        enable = true;
        package = pkgs.callPackage ./package.nix { };
        settings = {
          labels.host = "\${HOSTNAME}";
          loki = [ { url = "http://127.0.0.1:3100"; } ];
          logs = [
            {
              name = "app";
              file.include = "/var/log/app/*.log";
              labels.job = "app";
            }
            {
              name = "journal";
              journal.units = [ "try.service" ];
              labels.job = "journal";
            }
          ];
        };
      };

      systemd.tmpfiles.rules = [ "d /var/log/app 0755 root root -" ];
      systemd.services.try.script = "echo said by a unit";
      systemd.services.try.serviceConfig.Type = "oneshot";
      environment.systemPackages = [
        pkgs.grafana-loki
        pkgs.jq
      ];
    };

  testScript = ''
    def lines(selector):
        return "logcli --addr=http://127.0.0.1:3100 query --quiet --no-labels --limit=100 --output=raw '{" + selector + "}'"

    def count(selector, text):
        return machine.succeed(lines(selector) + " | grep -c '" + text + "' || true").strip()

    machine.wait_for_unit("loki.service")
    machine.wait_for_open_port(3100)
    machine.wait_until_succeeds("curl -sf http://127.0.0.1:3100/ready")
    machine.wait_for_unit("lugger.service")
    machine.wait_until_succeeds("lugger health")

    machine.succeed("echo written to a file >> /var/log/app/one.log")
    machine.wait_until_succeeds(lines('job="app"') + " | grep -q 'written to a file'")
    machine.succeed("systemctl start try.service")
    machine.wait_until_succeeds(lines('job="journal"') + " | grep -q 'said by a unit'")

    # It is not root, and may not become so.
    machine.succeed("test \"$(ps -o user= -C lugger)\" = lugger")
    machine.succeed("grep -q 'CapBnd:[[:space:]]*0000000000000000' /proc/$(pidof lugger)/status")

    # Prometheus has its numbers.
    machine.wait_for_unit("prometheus.service")
    machine.wait_until_succeeds(
        "curl -sf --data-urlencode 'query=lugger_source_lines_total{source=\"app\"} >= 1' http://127.0.0.1:9090/api/v1/query | jq -e '.data.result | length == 1'"
    )

    # A reload keeps the process.
    pid = machine.succeed("pidof lugger")
    machine.succeed("systemctl reload lugger.service")
    machine.wait_until_succeeds("curl -sf http://127.0.0.1:9080/metrics | grep -q 'lugger_config_reloads_total{result=\"success\"} 1'")
    assert pid == machine.succeed("pidof lugger")

    # A restart loses nothing, and sends nothing twice.
    machine.succeed("systemctl stop lugger.service")
    machine.succeed("echo written meanwhile >> /var/log/app/one.log")
    machine.succeed("systemctl start lugger.service")
    machine.wait_until_succeeds(lines('job="app"') + " | grep -q 'written meanwhile'")
    assert count('job="app"', "written") == "2", "each line is there once"
  '';
}
