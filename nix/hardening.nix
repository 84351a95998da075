# What systemd takes from the service. It is what the packaged unit has, and no less than NixOS's Promtail module had.
#
# It reads logs and its own state, writes its state, and speaks to the network and to Docker's socket.
{
  # Some listener has a port below 1024.
  lowPorts,
  # The host is measured (`metrics.host`): then processes and file systems of others have to be seen.
  measuresHost,
}:
{
  CapabilityBoundingSet = if lowPorts then "CAP_NET_BIND_SERVICE" else "";
  AmbientCapabilities = if lowPorts then "CAP_NET_BIND_SERVICE" else "";
  # In a user namespace of its own a capability counts for nothing outside.
  PrivateUsers = !lowPorts;
  NoNewPrivileges = true;

  ProtectSystem = "strict";
  ProtectHome = if measuresHost then "read-only" else true;
  PrivateTmp = true;
  PrivateDevices = true;
  DevicePolicy = "closed";
  PrivateMounts = true;
  ProtectProc = if measuresHost then "default" else "invisible";
  ProtectKernelTunables = true;
  ProtectKernelModules = true;
  ProtectKernelLogs = true;
  ProtectControlGroups = true;
  # How well the clock is kept is asked by a call that also sets it, and for which a capability is missing.
  ProtectClock = !measuresHost;
  ProtectHostname = true;
  RemoveIPC = true;
  KeyringMode = "private";
  UMask = "0077";
  LimitCORE = 0;

  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  RestrictNamespaces = true;
  # Netlink: names are resolved with it.
  RestrictAddressFamilies = [
    "AF_INET"
    "AF_INET6"
    "AF_UNIX"
    "AF_NETLINK"
  ];
  SystemCallArchitectures = "native";
  SystemCallErrorNumber = "EPERM";
  SystemCallFilter = [
    "@system-service"
    "~@privileged @resources"
  ]
  ++ (if measuresHost then [ "adjtimex clock_adjtime" ] else [ ]);
}
