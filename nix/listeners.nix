# What a configuration listens on, as far as that can be read from it: for the firewall, and for ports that take a capability.
#
# Each listener is { protocol = "tcp" or "udp"; port; isLocal; }. An address that is made of environment variables is not known here.
{ lib }:
let
  # "udp://0.0.0.0:1514", "[::]:6514", ":12201"; a scheme other than udp is TCP.
  parse =
    default: text:
    let
      parts = builtins.match "(([a-z]+)://)?(.*):([0-9]+)" text;
      scheme = builtins.elemAt parts 1;
      host = builtins.elemAt parts 2;
    in
    lib.optional (builtins.isString text && parts != null) {
      protocol = if (if scheme == null then default else scheme) == "udp" then "udp" else "tcp";
      port = lib.toInt (builtins.elemAt parts 3);
      isLocal = host == "localhost" || host == "[::1]" || lib.hasPrefix "127." host;
    };

  entries = value: if builtins.isList value then builtins.filter builtins.isAttrs value else [ ];

  of = key: entry: lib.optional (builtins.isAttrs (entry.${key} or null)) entry.${key};
in
{
  # Of a configuration in lugger's own form.
  native =
    settings:
    lib.concatMap (
      entry:
      lib.concatMap (syslog: parse "tcp" (syslog.listen or "")) (of "syslog" entry)
      ++ lib.concatMap (push: parse "tcp" (push.listen or "")) (of "push" entry)
      ++ lib.concatMap (gelf: parse "udp" (gelf.listen or "0.0.0.0:12201")) (of "gelf" entry)
    ) (entries (settings.logs or [ ]));

  # Of a Promtail configuration.
  promtail =
    configuration:
    lib.concatMap (
      job:
      lib.concatMap (
        syslog: parse (syslog.listen_protocol or "tcp") (syslog.listen_address or "")
      ) (of "syslog" job)
      ++ lib.concatMap (
        push:
        let
          server = push.server or { };
          port = server.http_listen_port or null;
        in
        lib.optionals (builtins.isInt port) (parse "tcp" "${server.http_listen_address or ""}:${toString port}")
      ) (of "loki_push_api" job)
      ++ lib.concatMap (gelf: parse "udp" (gelf.listen_address or ":12201")) (of "gelf" job)
    ) (entries (configuration.scrape_configs or [ ]));
}
