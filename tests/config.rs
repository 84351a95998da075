use lugger::config;
#[test]
fn p() {
    let env = |n: &str| (n == "HOSTNAME").then(|| "h".to_owned());
    let text = std::fs::read_to_string(std::env::var("F").unwrap_or("agent.example.yaml".into())).unwrap();
    for part in text.split("=====\n") {
        println!("--------------------------------------");
        match config::load_str("agent.yaml", part, &env) {
            Ok(l) => println!("{:#?}\n{}", l.plan, l.warnings),
            Err(e) => println!("{e}"),
        }
    }
}
