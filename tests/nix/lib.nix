# A small stand-in for what nixpkgs calls `lib`, as far as nix/ uses it: enough to evaluate the module and the package where nixpkgs is not at hand.
#
# It promises what the names promise in nixpkgs, and is strict: a function, type or option that is not here is an error of the evaluation. It leaves
# out what nobody here uses: `imports` of modules, `apply`, documentation.
let
  inherit (builtins)
    all
    any
    attrNames
    concatLists
    concatStringsSep
    elemAt
    filter
    foldl'
    head
    isAttrs
    isFunction
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    stringLength
    substring
    ;

  concatMap = f: list: concatLists (map f list);
  optional = condition: value: if condition then [ value ] else [ ];
  where = path: concatStringsSep "." path;

  # Properties of definitions.
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  kind = value: if isAttrs value then value._type or null else null;

  # A definition of attributes as definitions of each, without asking whether its condition holds: that may depend on what comes out.
  pushDown =
    value:
    if kind value == "if" then
      map (mapAttrs (_: mkIf value.condition)) (pushDown value.content)
    else if kind value == "override" then
      map (mapAttrs (_: mkOverride value.priority)) (pushDown value.content)
    else if kind value == "merge" then
      concatMap pushDown value.contents
    else
      [ value ];

  discharge =
    priority: value:
    if kind value == "if" then
      if value.condition then discharge priority value.content else [ ]
    else if kind value == "merge" then
      concatMap (discharge priority) value.contents
    else if kind value == "override" then
      discharge value.priority value.content
    else
      [ { inherit priority value; } ];

  # The values of the strongest priority.
  strongest =
    definitions:
    let
      found = concatMap (discharge 100) definitions;
      best = foldl' (least: one: if one.priority < least then one.priority else least) 9999 found;
    in
    map (one: one.value) (filter (one: one.priority == best) found);

  evalDefinitions =
    path: type: definitions:
    let
      values = strongest definitions;
      wrong = filter (value: !(type.check value)) values;
    in
    if wrong != [ ] then
      throw "A definition for option `${where path}' is not of type `${type.name}'."
    else
      type.merge path values;

  evalOption =
    path: option: definitions:
    let
      values = concatMap (discharge 100) definitions;
    in
    if values != [ ] then
      evalDefinitions path option.type definitions
    else if option ? default then
      # A default is checked like what somebody writes.
      evalDefinitions path option.type [ option.default ]
    else if option.type ? emptyValue then
      option.type.emptyValue
    else
      throw "The option `${where path}' was accessed but has no value defined.";

  isOption = value: kind value == "option";

  evalTree =
    path: freeform: tree: definitions:
    let
      values = concatMap pushDown definitions;
      of = name: concatMap (value: optional (value ? ${name}) value.${name}) values;
      declared = mapAttrs (
        name: option:
        if isOption option then
          evalOption (path ++ [ name ]) option (of name)
        else
          evalTree (path ++ [ name ]) null option (of name)
      ) tree;
      others = filter (name: !(tree ? ${name})) (concatMap attrNames values);
      rest = map (value: removeAttrs value (attrNames tree)) values;
    in
    if others == [ ] then
      declared
    else if freeform == null then
      throw "The option `${where (path ++ [ (head others) ])}' does not exist."
    else
      evalDefinitions path freeform rest // declared;

  mergeTrees =
    left: right:
    left
    // mapAttrs (
      name: value:
      if left ? ${name} then
        if isOption value || isOption left.${name} then
          throw "The option `${name}' is declared twice."
        else
          mergeTrees left.${name} value
      else
        value
    ) right;

  evalModules =
    { modules, specialArgs }:
    let
      called = map (module: if isFunction module then module arguments else module) modules;
      arguments = specialArgs // {
        inherit lib options config;
      };
      options = foldl' mergeTrees { } (map (module: module.options or { }) called);
      # A module without these two is a configuration as a whole.
      definitions = map (
        module: if module ? options || module ? config then module.config or { } else module
      ) called;
      config = evalTree [ ] null options definitions;
    in
    {
      inherit options config;
    };

  plain = name: check: {
    inherit name check;
    merge =
      path: values:
      if all (value: value == head values) values then
        head values
      else
        throw "The option `${where path}' has conflicting definition values.";
  };

  types = rec {
    str = plain "string" isString;
    bool = plain "boolean" builtins.isBool;
    int = plain "signed integer" builtins.isInt;
    float = plain "floating point number" builtins.isFloat;
    port = plain "16 bit unsigned integer" (value: builtins.isInt value && value >= 0 && value <= 65535);
    path = plain "absolute path" (
      value:
      builtins.isPath value
      || (isString value && substring 0 1 value == "/")
      || (isAttrs value && value ? outPath)
    );
    package = plain "package" (value: isAttrs value && value ? outPath);
    anything = plain "anything" (_: true);

    nullOr =
      type:
      type
      // {
        name = "null or ${type.name}";
        check = value: value == null || type.check value;
        merge =
          path: values:
          if all (value: value == null) values then
            null
          else if any (value: value == null) values then
            throw "The option `${where path}' is defined both null and not null."
          else
            type.merge path values;
      };

    either = first: second: {
      name = "${first.name} or ${second.name}";
      check = value: first.check value || second.check value;
      merge = path: values: if all first.check values then first.merge path values else second.merge path values;
    };
    oneOf = list: foldl' either (head list) (builtins.tail list);

    listOf = type: {
      name = "list of ${type.name}";
      check = isList;
      emptyValue = [ ];
      merge =
        path: values:
        map (value: evalDefinitions path type [ value ]) (
          # An element whose condition does not hold is none.
          filter (value: discharge 100 value != [ ]) (concatLists values)
        );
    };

    attrsOf = type: {
      name = "attribute set of ${type.name}";
      check = isAttrs;
      emptyValue = { };
      merge =
        path: values:
        let
          parts = concatMap pushDown values;
          names = lib.unique (concatMap attrNames parts);
          of = name: concatMap (part: optional (part ? ${name}) part.${name}) parts;
          present = filter (name: concatMap (discharge 100) (of name) != [ ]) names;
        in
        listToAttrs (
          map (name: {
            inherit name;
            value = evalDefinitions (path ++ [ name ]) type (of name);
          }) present
        );
    };

    submodule = module: {
      name = "submodule";
      check = isAttrs;
      emptyValue = { };
      merge = path: values: evalTree path (module.freeformType or null) module.options values;
    };
  };

  lib = {
    inherit
      concatMap
      evalModules
      isOption
      mkIf
      mkMerge
      mkOverride
      optional
      types
      ;
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkOption = attributes: attributes // { _type = "option"; };
    mkEnableOption =
      what:
      lib.mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether to enable ${what}.";
      };
    literalExpression = text: {
      _type = "literalExpression";
      inherit text;
    };
    literalMD = text: {
      _type = "literalMD";
      inherit text;
    };

    optionalString = condition: text: if condition then text else "";
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: attributes: if condition then attributes else { };
    filterAttrs = keep: set: removeAttrs set (filter (name: !(keep name set.${name})) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    count = holds: list: length (filter holds list);
    unique = foldl' (seen: one: if builtins.elem one seen then seen else seen ++ [ one ]) [ ];
    genAttrs =
      names: f:
      listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );

    # Of anything but a string nixpkgs has no prefix either.
    hasPrefix =
      prefix: text: assert isString text; substring 0 (stringLength prefix) text == prefix;
    hasInfix =
      part: text:
      let
        last = stringLength text - stringLength part;
      in
      last >= 0 && any (at: substring at (stringLength part) text == part) (builtins.genList (at: at) (last + 1));
    toInt =
      text:
      let
        parts = builtins.match "[[:space:]]*(-?[1-9][0-9]*|0)[[:space:]]*" text;
      in
      if parts == null then throw "lib.toInt: ${text} is no unambiguous number" else builtins.fromJSON (elemAt parts 0);
    escapeShellArg =
      text:
      if builtins.match "[A-Za-z0-9,._+:@%/-]+" (toString text) != null then
        toString text
      else
        "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
    getExe = package: "${package}/bin/${package.meta.mainProgram}";
    importTOML = path: builtins.fromTOML (builtins.readFile path);

    # Each file has to be there.
    fileset = {
      unions =
        files: if all builtins.pathExists files then files else throw "lib.fileset.unions: a file does not exist";
      toSource = { root, fileset }: { inherit root fileset; };
    };
    licenses = {
      mit.spdxId = "MIT";
      asl20.spdxId = "Apache-2.0";
    };
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
in
lib
