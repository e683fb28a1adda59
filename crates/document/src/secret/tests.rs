use super::*;

fn reference(name: &str, key: &str) -> SecretRef {
    SecretRef { secret: SecretKey { name: name.to_owned(), key: key.to_owned() } }
}

fn environment() -> Secrets {
    let variables = [("HEADWATER_SECRET_BROKER_PASS_WORD", "canary-1"), ("HOME", "canary-2")];
    Secrets::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

#[test]
fn the_environment_comes_before_the_file() {
    let secrets = environment().file("s.yaml", "broker: {pass-word: other, pin: 0123}\n").unwrap();
    assert_eq!(secrets.resolve(&reference("broker", "pass-word"), "a").unwrap().expose(), "canary-1");
    assert_eq!(secrets.resolve(&reference("broker", "pin"), "a").unwrap().expose(), "0123");
}

#[test]
fn a_missing_secret_names_its_variable_and_the_file() {
    let problem = environment().resolve(&reference("ztf.kafka", "token"), "spec.x").unwrap_err();
    let text = problem.to_string();
    assert!(text.contains("`HEADWATER_SECRET_ZTF_KAFKA_TOKEN`") && text.contains("--secrets"), "{text}");
    assert_eq!(problem.path, "spec.x");
}

#[test]
fn two_references_to_one_variable_collide() {
    let secrets = environment();
    for _ in 0..2 {
        secrets.resolve(&reference("broker", "pass-word"), "a").unwrap();
    }
    let problem = secrets.resolve(&reference("broker-pass", "word"), "b").unwrap_err();
    assert!(problem.found.contains("both read `HEADWATER_SECRET_BROKER_PASS_WORD`"), "{problem}");
}

#[test]
fn nothing_prints_a_value() {
    let secrets = environment().file("s.yaml", "broker: {pin: canary-3}\n").unwrap();
    assert!(!format!("{secrets:?}").contains("canary"));
    assert_eq!(format!("{:?}", Secret::new("canary")), "<secret>");
    for text in
        ["broker: canary", "broker: {pin: [canary]}", "- canary", "broker: {pin: 'canary", "a: canary\na: {b: canary}"]
    {
        let problems = environment().file("s.yaml", text).unwrap_err();
        let shown = format!("{problems:?} {}", crate::render(&problems, false));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
