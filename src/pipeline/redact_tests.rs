//! Tests of `pipeline/redact.rs`: what is found, and what only looks like it. All secrets are made up.

use super::*;
use proptest::prelude::*;

fn redactor(kinds: &[Kind], mark: Mark) -> Redactor {
    Redactor::compile(&Settings { kinds: kinds.to_vec(), custom: Vec::new(), mark }).unwrap()
}

fn run(redactor: &Redactor, line: &str) -> String {
    let (mut scratch, mut out) = (Scratch::default(), String::from("left alone"));
    match redactor.redact(line, &mut 0, &mut scratch, &mut out) {
        0 => {
            assert_eq!(out, "left alone");
            line.to_owned()
        }
        count => {
            assert_eq!(count, scratch.found.len());
            out
        }
    }
}

/// `<...>` in a text is what is to be found; texts without it are to be left alone. All kinds are looked for, so that none finds what is another's.
#[track_caller]
fn table(kind: Kind, texts: &[&str]) {
    let (one, all) = (redactor(&[kind], Mark::Kind), redactor(&Kind::ALL, Mark::Kind));
    for text in texts {
        let line = text.replace(['<', '>'], "");
        let mut expected = String::new();
        for (i, part) in text.split(['<', '>']).enumerate() {
            expected.push_str(&if i % 2 == 1 { format!("[{}]", kind.name()) } else { part.to_owned() });
        }
        assert_eq!(run(&one, &line), expected, "{text}");
        assert_eq!(run(&all, &line), expected, "{text}, among all kinds");
    }
}

#[test]
fn cards() {
    table(
        Kind::Card,
        &[
            "<4111111111111111>",
            "pan=<4111111111111111>&cvv=1",
            r#"{"card":"<5500005555555559>"}"#,
            "paid with <4111 1111 1111 1111>, thanks",
            "paid with <4111-1111-1111-1111>.",
            "<378282246310005> and <3782 822463 10005>",
            "<30569309025904> <3056 930902 5904>",
            "<6011111111111117>;<3530111333300000>",
            "<2223003122003222>",
            "<4222222222222>",
            "card_<4111111111111111>_x",
            "größe <4111111111111111>",
            "paid with <4111.1111.1111.1111>. Thanks",
            "card_<4111_1111_1111_1111>_x <3782.822463.10005>",
            "a 2024-01-01 <4111111111111111> b",
            // Times, counters, ids and sums that are none.
            "4111111111111112",
            "4111 1111 1111 1112",
            "4111 1111-1111 1111",
            "41111111 11111111",
            "x4111111111111111",
            "4111111111111111x",
            "0.4111111111111111",
            "4111111111111111.5",
            "1700000000123456789",
            "1732187676123",
            "2024-01-01 10:00:00.123456 12345 67890",
            "0000000000000000",
            "9999999999999999",
            "550e8400-4111-1111-1111-111111111111",
            "4111-1111-1111-1111-1111-1111",
            "41111111111111111111111",
            "phone +49 30 1234 5678 9012",
            "1234567890123456",
            "4111.1111.1111.1112 4111_1111.1111_1111",
            "4111.1111.1111.1111.1111 1.4111.1111.1111.1111 4111_1111_1111_1111_1",
            "2024.01.01_10.00.00.123456 20240101_100000_123456",
            "4111.11 6.5.0-1025.4111_1111 1700000000.123456789",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "",
        ],
    );
}

#[test]
fn emails() {
    table(
        Kind::Email,
        &[
            "<jane.doe+x@example.co.uk>",
            "from=<jane@example.com>, to: <joe_1@mail.example.org>.",
            "user <müller@exämple.de> logged in",
            "mailto:<a@b.io>",
            "'<jane@example.com>'",
            "“<jane@example.com>”",
            "q=1&email=<jane@example.com>&x=2",
            "<jane@xn--bcher-kva.xn--p1ai>",
            // Not addresses.
            "jane@localhost",
            "@jane.doe and @types/node.js",
            "getty@tty1.service",
            "user@1000.service: Deactivated",
            "lodash@4.17.21",
            "icon@2x.png",
            "jane@.com jane@a..com jane@-a.com jane@a-.com",
            "jane.@example.com",
            "com.foo.Bar@1a2b3c",
            "a@b.c",
            "root@host:/var",
            "image@sha256:abcdef",
            "a@b.com@c",
            "@",
            "",
        ],
    );
}

#[test]
fn urls() {
    table(
        Kind::UrlUser,
        &[
            "https://<jane:secret>@example.com/x",
            "postgres://<app:p4ss>@db:5432/app?sslmode=off",
            "(redis://<:pw>@10-0-0-1)",
            "proxy=http://<joe:a@b>@proxy:3128",
            "https://<ghtoken>@git.example.com/a.git and ftp://<a:b>@c",
            "url=\"amqp://<guest:güst>@mq\"",
            // None.
            "https://example.com/@jane",
            "https://example.com/?q=a@b",
            "https://medium.com/#@x",
            "://a@b",
            "http://@host",
            "a//b@c",
        ],
    );
    // The address behind it is not taken for an e-mail address.
    assert_eq!(run(&redactor(&[Kind::Email], Mark::Kind), "https://a:b@example.com/"), "https://a:b@example.com/");
}

#[test]
fn addresses() {
    table(
        Kind::Ip,
        &[
            "<10.0.0.1>",
            "client <192.168.1.17>:443, upstream: \"http://<10.1.2.3>:80/\"",
            "<1.2.3.4>-<1.2.3.9> <10.0.0.0>/8 [<8.8.8.8>].",
            "ip=<255.255.255.255>",
            "GET /<1.2.3.4>",
            "<2001:db8::1> [<fe80::1ff:fe23:4567:890a>]:80",
            "<2001:0db8:85a3:0000:0000:8a2e:0370:7334>: ok",
            "from <::1> to <::ffff:10.0.0.1>.",
            "peer <fe80::1>%eth0",
            // Versions, times and other numbers.
            "256.1.1.1 1.2.3 1.2.3.4.5 01.2.3.4",
            "Mozilla/5.0 Chrome/119.0.0.0 Safari/537.36",
            "openssl-1.1.1.1 v1.2.3.4 x1.2.3.4 1.2.3.4a",
            "version 1.2.3.4, Version: \"4.3.2.1\"",
            "2024-01-01T10:00:00.123Z 10:00:00",
            "00:1a:2b:3c:4d:5e aa:bb:cc:dd:ee:ff:00:11",
            "SHA256 16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
            "std::string face::add a[::2] x[1::2] ::",
            "module::Type::new a::b::c",
            "1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9",
            ". .. ... : :: :::",
        ],
    );
}

#[test]
fn authorization() {
    table(
        Kind::Authorization,
        &[
            "Authorization: Bearer <abcdef123456.x-y_z~>",
            "authorization: basic <dXNlcjpwYXNz> HTTP/1.1",
            r#"{"Authorization":"Bearer <abcd1234efgh5678>","x":1}"#,
            r#"{\"authorization\":[\"Token <abcd1234>\"]}"#,
            "Proxy-Authorization: Basic <dXNlcjpwYXNz>",
            "Authorization: <0123456789abcdef0123>",
            r#"Authorization: Digest <username="jane", response="12ab", nc=1> done"#,
            "Authorization: AWS4-HMAC-SHA256 <Credential=X/2024/s3, SignedHeaders=host;date, Signature=ab12>",
            "sent Bearer <abcdef123456> to x",
            "sent BEARER <abcdef123456>, bearer  <abcdef123456>, Bearer\t<abcdef123456>",
            "BASIC \t<amFuZTpwYXNz>",
            "token is bearer   <abcdefghijklmnop>, bEaReR <hunter_and_prey.too>",
            "(Bearer <1234567890123456>) Bearer: Bearer <abcdefgh-ijklmnop==>",
            "Authorization:Bearer\t<abcd1234>",
            "Authorization:\tToken  <abcd1234>",
            "Authorization: <abcdefghijklmnopqrstuvwxyz>",
            "authorization=<qWeRtYuIoPaSdFgHjKlZxCvBnM>",
            "header basic <amFuZTpwYXNz>",
            // Prose.
            "Authorization: denied for jane",
            "authorization failed: internal-server-error",
            "bearer authentication required",
            "Bearer token_missing, bearer authentication...",
            "bearer a1 of 3, Bearer v2",
            "Basic authentication is off; basic knowledge",
            "BearerX abcdef123456",
            "Bearer:abcdef123456 bearer",
            "Authorization: AuthorizationHeaderMissingException",
            "authorization: internal-server-error-of-the-upstream",
            "authorization=required",
            "Authorization:",
        ],
    );
    let one = redactor(&[Kind::Authorization], Mark::Kind);
    assert_eq!(run(&one, "Authorization => 'ApiKey a1b2c3d4'"), "Authorization => 'ApiKey [authorization]'");
}

#[test]
fn tokens() {
    let made_up = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC2dE3fG4h";
    let (t36, t40) = (&made_up[..36], &made_up[..40]);
    let texts = [
        "key AKIA<>".replace("AKIA<>", "<AKIAIOSFODNN7EXAMPLE>"),
        format!("aws_secret_access_key = <{t40}>"),
        format!(r#""SecretAccessKey": "<{t40}>", "#),
        format!("AWS_SECRET_ACCESS_KEY=<{t40}>"),
        format!("<ghp_{t36}> <ghs_{t36}>"),
        format!("<github_pat_{t36}_{t36}>"),
        format!("x=<glpat-{}>", &made_up[..20]),
        "<xoxb-123456789012-abcdefABCDEF>".to_owned(),
        format!("https://<hooks.slack.com/services/T000/B000/{}>", &made_up[..24]),
        format!("<AIza{}>", &made_up[..35]),
        format!("<sk_live_{}>", &made_up[..24]),
        format!("<npm_{t36}>"),
        "cookie=<eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl>; x".to_owned(),
        "<eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.>".to_owned(),
        // None.
        "AKIA AKIAIOSFODNN7EXAMPL AKIAIOSFODNN7EXAMPLEX xAKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("ghp_short ghp_{} xghp_{t36}", &made_up[..20]),
        format!("secret_access_key is missing {t40}"),
        "xoxb- eyJ eyJhbGciOiJIUzI1NiJ9 eyJhbGciOiJIUzI1NiJ9.x.y eyJhbGciOiJIUzI1NiJ9.abcdefghijklm.y".to_owned(),
        "npm_config_registry=x sk_live_ AIza".to_owned(),
    ];
    table(Kind::Token, &texts.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn private_keys() {
    table(
        Kind::PrivateKey,
        &[
            "<-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY----->\nafter",
            r#"{"key":"<-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY----->\n"}"#,
            "<-----BEGIN OPENSSH PRIVATE KEY----->",
            "<-----BEGIN EC PRIVATE KEY-----\ncut off>",
            "<-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK----->",
            "-----BEGIN CERTIFICATE-----\nMIIabc\n-----END CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN ",
        ],
    );
}

/// Lines of their own, with what a log puts before them; other lines between them stay.
#[test]
fn private_keys_over_several_lines() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    let (json_body, prefixed) = (format!(r#"{{"log":"<{body}>\n"}}"#), format!("2024-01-01 10:00:00 app: <{body}>"));
    let whole = format!("<{body}>");
    let id = "550e8400-e29b-41d4-a716-446655440000 done 2024-01-01T10:00:00Z";
    let begin = "<-----BEGIN RSA PRIVATE KEY----->";
    let rows: [&[&str]; 6] = [
        &["before", begin, &whole, &whole, "<Ab3=>", "<-----END RSA PRIVATE KEY----->", body, "after Ab3="],
        &[
            begin,
            "Proc-Type: 4,ENCRYPTED",
            "DEK-Info: AES-128-CBC,00",
            "",
            &whole,
            "x <-----END RSA PRIVATE KEY-----> y",
            body,
        ],
        &[
            "app: <-----BEGIN PRIVATE KEY----->",
            &prefixed,
            "GET /index.html 200",
            &prefixed,
            "app: <kXp9Ab+=>",
            "app: <-----END PRIVATE KEY----->",
        ],
        &[begin, &json_body, r#"{"log":"<Ab3d>\r\n"}"#, r#"{"log":"<-----END RSA PRIVATE KEY----->\n"}"#],
        // What is cut off does not go on for ever.
        &[begin, &whole, id, id, id, id, id, id, id, id, body],
        &["-----BEGIN CERTIFICATE-----", body, "-----END CERTIFICATE-----"],
    ];
    for kinds in [&[Kind::PrivateKey][..], &Kind::ALL] {
        let redactor = redactor(kinds, Mark::Kind);
        for row in rows {
            let (mut open, mut scratch, mut out) = (0, Scratch::default(), String::new());
            for text in row {
                let line = text.replace(['<', '>'], "");
                let parts = text.split(['<', '>']).enumerate();
                let wanted: String = parts.map(|(i, part)| if i % 2 == 1 { "[private_key]" } else { part }).collect();
                let count = redactor.redact(&line, &mut open, &mut scratch, &mut out);
                assert_eq!(if count > 0 { &out } else { &line }, &wanted, "{row:?}");
            }
            assert_eq!(open, 0, "{row:?}");
        }
        let (mut open, mut scratch, mut out) = (0, Scratch::default(), String::new());
        redactor.redact("-----BEGIN PRIVATE KEY-----", &mut open, &mut scratch, &mut out);
        let all = (0..).take_while(|_| redactor.redact(body, &mut open, &mut scratch, &mut out) > 0).count();
        assert_eq!(all, usize::from(key_lines::OPEN));
    }
    // Without the kind nothing is remembered.
    let (mut open, mut scratch, mut out) = (0, Scratch::default(), String::new());
    redactor(&[Kind::Card], Mark::Kind).redact("-----BEGIN PRIVATE KEY-----", &mut open, &mut scratch, &mut out);
    assert_eq!(open, 0);
}

#[test]
fn own_patterns() {
    let custom = |name: &str, expression: &str| Custom { name: name.into(), expression: expression.into() };
    let compile = |custom: Vec<Custom>| Redactor::compile(&Settings { kinds: vec![], custom, mark: Mark::Kind });
    let redactor = compile(vec![custom("id", r"\bID-\d{4}\b"), custom("password", r"(?i)password=(\S+)")]).unwrap();
    assert_eq!(run(&redactor, "ID-1234 ID-12345 Password=hünter2 x"), "[id] ID-12345 Password=[password] x");
    assert_eq!(run(&redactor, "password=ID-1234"), "password=[id]");
    let redactor = compile(vec![custom("one", "abcd"), custom("two", "cdef"), custom("three", "bc")]).unwrap();
    assert_eq!(run(&redactor, "xabcdefx cdefx"), "x[one]x [two]x");
    // A group that did not match, or is empty, is nothing to be replaced.
    let redactor = compile(vec![custom("a", "x(y)?ä")]).unwrap();
    assert_eq!(run(&redactor, "xä xyä"), "xä x[a]ä");

    assert_eq!(compile(vec![]).map(|_| ()).unwrap_err(), RedactError::Nothing);
    assert_eq!(compile(vec![custom("e", "x*")]).map(|_| ()).unwrap_err(), RedactError::Empty("e".into()));
    let error = compile(vec![custom("bad", "(?=x)")]).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("pattern bad: regular expression, character 1: look-ahead"), "{error}");
    let many = (0..=REDACT_PATTERNS).map(|i| custom(&i.to_string(), "x")).collect();
    assert!(matches!(compile(many), Err(RedactError::TooMany(_))));
}

#[test]
fn marks() {
    let line = "4111 1111 1111 1111 = 4111111111111111, not 5500005555555559";
    let text = redactor(&[Kind::Card], Mark::Text("***".into()));
    assert_eq!(run(&text, line), "*** = ***, not ***");
    let hash = |salt: &str| redactor(&[Kind::Card, Kind::Email], Mark::Hash(Secret::new(salt)));
    // Computed with Python's hmac.
    assert_eq!(
        run(&hash("salt"), line),
        "[card:b8c17b8fd8a260fd] = [card:b8c17b8fd8a260fd], not [card:445a172814998ac8]"
    );
    assert_ne!(run(&hash("salt"), line), run(&hash("other"), line));
    assert_eq!(run(&hash("s"), "A@Example.com"), run(&hash("s"), "a@example.com"));
    let no_salt = Settings { kinds: vec![Kind::Ip], custom: vec![], mark: Mark::Hash(Secret::default()) };
    assert_eq!(Redactor::compile(&no_salt).map(|_| ()).unwrap_err(), RedactError::Salt);
}

#[test]
fn overlapping_findings_become_one() {
    let all = redactor(&Kind::ALL, Mark::Kind);
    assert_eq!(
        run(&all, "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln x"),
        "Authorization: Bearer [authorization] x"
    );
    assert_eq!(run(&all, "http://joe:4111111111111111@10.0.0.1/"), "http://[url_user]@[ip]/");
    assert_eq!(run(&all, "jane@example.com,10.0.0.1"), "[email],[ip]");
    for kind in Kind::ALL {
        assert_eq!(Kind::by_name(kind.name()), Some(kind));
    }
}

/// Lines that consist of nothing but beginnings: where each of them looked at the rest of the line, this would take hours.
#[test]
fn long_lines_take_no_longer_than_their_length() {
    let all = redactor(&Kind::ALL, Mark::Kind);
    let (mut scratch, mut out) = (Scratch::default(), String::new());
    let pieces = [
        "@",
        "a@",
        "x://@",
        "://a@",
        "eyJ-",
        "eyJhbGciOiJ.",
        "eyJhbGciOiJIU.eyJhbGciOiJIU",
        "github_pat_",
        "sk-ant-",
        "Authorization=",
        "Authorization: Digest ",
        "Bearer ",
        "Basic a",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY",
        "4",
        "4111 ",
        "4-",
        "1.",
        "1.1.1.1 ",
        "a:",
        "::",
        ":1",
        " ",
        "secret_access_key=",
        "Authorization: Digest a=\"",
        "xoxe.",
    ];
    for piece in pieces {
        for open_key in [0, key_lines::OPEN] {
            all.redact(&piece.repeat((1 << 20) / piece.len()), &mut { open_key }, &mut scratch, &mut out);
        }
    }
}

proptest! {
    /// Whatever the line: no panic, what is not found is kept, and marks are not found again.
    #[test]
    fn any_line(line in r"([0-9]{1,17}|[ :.@/=-]|[a-f]{1,3}|Bearer |Basic |Authorization|eyJ|AKIA|ghp_|-----BEGIN |://|::|PRIVATE KEY-----|ä|\PC){0,30}") {
        let redactor = redactor(&Kind::ALL, Mark::Text("[…]".into()));
        let once = run(&redactor, &line);
        let parts: Vec<&str> = once.split("[…]").collect();
        if !line.contains("[…]") {
            prop_assert!(line.starts_with(parts[0]) && line.ends_with(parts[parts.len() - 1]));
        }
    }

    /// Any card number, with any separators in it, is found in any surroundings of words.
    #[test]
    fn every_card(digits in prop::collection::vec(0..10u8, 14), first in prop::sample::select(vec![4u8, 51]), separator in " |-|", before in "[a-z]{0,20} ", after in " [a-z]{0,20}") {
        let mut all: Vec<u8> = if first == 4 { vec![4] } else { vec![5, 1] };
        all.extend(digits);
        all.truncate(15);
        let sum: u32 = all.iter().rev().enumerate().map(|(i, d)| { let v = u32::from(*d) << ((i + 1) % 2); if v > 9 { v - 9 } else { v } }).sum();
        all.push(((10 - sum % 10) % 10) as u8);
        let groups: Vec<String> = all.chunks(4).map(|group| group.iter().map(u8::to_string).collect()).collect();
        let line = format!("{before}{}{after}", groups.join(&separator));
        prop_assert_eq!(run(&redactor(&[Kind::Card], Mark::Kind), &line), format!("{before}[card]{after}"));
    }
}
