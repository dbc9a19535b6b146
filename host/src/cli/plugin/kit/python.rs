//! Python: componentize-py in a virtual environment of ours, which bakes interpreter, driver and SDK into one component.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::super::project::Project;
use super::{answer, installed, run};

const VERSION: &str = "0.25.1";
/// The oldest Python that componentize-py is there for, and in whose words the SDK is written.
const OLDEST: (u32, u32) = (3, 11);
const REMEDY: &str = "Python drivers are built with Python 3.11 or newer, its module venv, and pip (on Debian: apt-get install python3-venv python3-pip)";

/// Builds the driver whose module is `driver.py`.
pub(in super::super) fn build(project: &Project) -> anyhow::Result<PathBuf> {
    let python = python()?;
    let tool = installed(&format!("componentize-py-{VERSION}"), |folder| {
        run(Command::new(&python).args(["-m", "venv"]).arg(folder)).context(REMEDY)?;
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("componentize-py=={VERSION}")))
        .context("componentize-py cannot be installed; it comes from PyPI, or from where pip's settings say")
    })?;
    let target = project.folder.join("target");
    std::fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
    let built = target.join(format!("{}.component", project.name));
    eprintln!("building {} with componentize-py", project.name);
    // A module of a virtual environment that happens to be active has no place in the component.
    run(Command::new(tool.join("bin/componentize-py"))
        .env_remove("VIRTUAL_ENV")
        .env_remove("PYTHONPATH")
        .arg("--quiet")
        .arg("--wit-path")
        .arg(project.wit())
        .args(["--world", "driver", "componentize", "--stub-wasi"])
        .arg("--python-path")
        .arg(project.sdk.join("python"))
        .arg("--python-path")
        .arg(&project.folder)
        .arg("driver")
        .arg("--output")
        .arg(&built))?;
    Ok(built)
}

fn python() -> anyhow::Result<PathBuf> {
    let program = PathBuf::from("python3");
    let script = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let Some(version) = answer(Command::new(&program).args(["-c", script])) else {
        bail!("python3 is not here. {REMEDY}");
    };
    let mut numbers = version.split(' ').map(|number| number.parse().unwrap_or(0));
    let here = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if here < OLDEST {
        bail!("python3 is {}.{}. {REMEDY}", here.0, here.1);
    }
    Ok(program)
}
