//! What the compiler says to whoever writes a handler that cannot work. `TRYBUILD=overwrite` writes the expected texts
//! anew; look at what changed.

#[test]
fn compile_errors_teach() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/teaches/good.rs");
    cases.compile_fail("tests/teaches/bad_*.rs");
}
