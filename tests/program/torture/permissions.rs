//! Files and folders that may not be read or written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::ground::{checkpoint, collection, fresh, save_picture, tree};
use super::process::{Ended, has, run, within};
use super::{Outcome, Row, ensure, settle};
use crate::drive::{path_text, predictions, program, text};

/// A way to run the program as somebody to whom permissions apply; none if there is no such way.
fn as_nobody() -> Option<Vec<&'static str>> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| text(&output.stdout).trim() == "0");
    if !is_root {
        return Some(vec!["env"]);
    }
    let wrapper = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let trial = [&wrapper[1..], &[env!("CARGO_BIN_EXE_deepcut"), "--version"]].concat();
    has(wrapper[0], &trial).then_some(wrapper)
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    let mut row = Row::new("permissions", "images, checkpoints and folders without the right to read or write");
    let Some(wrapper) = as_nobody() else {
        return settle([row.cannot_run("the administrator may do everything, and there is no setpriv")]);
    };
    let folder = tempfile::tempdir().unwrap();
    let ground = folder.path();
    set(ground, 0o777);
    let data = collection(&ground.join("data"), 4);
    save_picture(&data.join("secret.png"), 9);
    save_picture(&data.join("closed/inner.png"), 10);
    let network = ground.join("network.safetensors");
    fs::copy(checkpoint(), &network).unwrap();
    let out = ground.join("out");
    let infer = |network: &Path, out: &Path| -> Ended {
        let arguments = ["infer", "--ckpt", path_text(network), "--data", path_text(&data), "--out", path_text(out)];
        run(&mut within(&wrapper, &program(&arguments)))
    };

    set(&data.join("secret.png"), 0o000);
    let ended = infer(&network, &out);
    let outcome = || -> Outcome {
        ended.ended_with(&[3])?;
        let line = &predictions(&out)["secret.png"];
        ensure(line["status"] == "skipped" && line["reason"].as_str().is_some_and(|why| !why.is_empty()), || {
            line.to_string()
        })
    };
    row.attempt("an image", outcome());
    set(&data.join("secret.png"), 0o644);

    set(&data.join("closed"), 0o000);
    let ended = infer(&network, fresh(&out));
    let named = || ensure(ended.error.contains("closed"), || format!("the folder is not named:\n{}", ended.error));
    row.attempt("a folder of images", ended.ended_with(&[3, 5]).and_then(|()| named()));
    set(&data.join("closed"), 0o755);

    set(&network, 0o000);
    let ended = infer(&network, fresh(&out));
    let named = || ensure(ended.complaint().contains("network.safetensors"), || ended.error.clone());
    row.attempt("a checkpoint", ended.ended_with(&[5]).and_then(|()| named()));
    row.attempt("a checkpoint, results", ensure(!out.exists(), || "the folder of results was made"));
    set(&network, 0o644);

    let closed = ground.join("read only");
    fs::create_dir(&closed).unwrap();
    set(&closed, 0o555);
    for out in [closed.clone(), closed.join("deep/out")] {
        let ended = infer(&network, &out);
        let named = || ensure(ended.complaint().contains("read only"), || ended.error.clone());
        row.attempt(out.display(), ended.ended_with(&[5]).and_then(|()| named()));
        row.attempt(
            format_args!("{}, results", out.display()),
            ensure(tree(&closed).is_empty(), || "something was written"),
        );
    }
    set(&closed, 0o755);

    let file = ground.join("file");
    fs::write(&file, "mine").unwrap();
    for out in [file.clone(), file.join("out")] {
        let ended = infer(&network, &out);
        row.attempt(out.display(), ended.ended_with(&[2, 5]));
    }
    row.attempt("the file in the way", ensure(fs::read(&file).unwrap() == b"mine", || "it was changed"));

    // A folder in which one result may not be replaced.
    let out = ground.join("half");
    infer(&network, &out).ended_with(&[0]).unwrap();
    fs::remove_file(out.join("masks/a0.png")).unwrap();
    set(&out.join("masks"), 0o555);
    let ended = infer(&network, &out);
    row.attempt("a folder of masks", ended.ended_with(&[5]));
    set(&out.join("masks"), 0o755);
    row.attempt("a folder of masks, after the right was given", infer(&network, &out).ended_with(&[0]));
    settle([row]);
}
