//! The variable of the environment, as a process sees it.

use std::process::Command;

use trainproof_field::{ISA_VARIABLE, Isa};

const PREFIX: &str = "active: ";

/// Run by the other tests, in a process of its own.
#[test]
#[ignore = "prints what a process with this environment uses"]
fn print_active() {
    match Isa::active() {
        Ok(isa) => println!("\n{PREFIX}{}", isa.name()),
        Err(error) => println!("\n{PREFIX}{error}"),
    }
}

fn active(variable: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "print_active", "--nocapture"]);
    match variable {
        Some(name) => command.env(ISA_VARIABLE, name),
        None => command.env_remove(ISA_VARIABLE),
    };
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let line = output.lines().find_map(|line| line.strip_prefix(PREFIX));
    line.expect("the process prints its instruction set").to_owned()
}

#[test]
fn a_process_uses_what_the_variable_names() {
    for isa in Isa::available() {
        assert_eq!(active(Some(isa.name())), isa.name());
    }
}

#[test]
fn a_process_without_the_variable_uses_the_best() {
    assert_eq!(active(None), Isa::available().last().unwrap().name());
}

#[test]
fn a_process_with_an_unknown_name_gets_an_error() {
    assert!(active(Some("neon")).starts_with("unknown instruction set \"neon\""));
}
