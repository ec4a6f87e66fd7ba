//! A PKCS#11 module between the signer and SoftHSM that does what a file says: fails, hangs, and otherwise behaves as the modules of
//! PIV tokens do. It is built by the tests themselves (see ../faults.rs) and is in no program.
//!
//! The file has a line for each fault: the function's name, then `fails` and a code in hex, or `hangs`. Two things are always so:
//! CKM_ECDSA can be asked for in parts, as ykcs11 and opensc can, and with `keys want-their-pin` new private keys are made
//! with CKA_ALWAYS_AUTHENTICATE.
#![allow(
    non_snake_case,
    missing_docs,
    unsafe_code,
    reason = "a PKCS#11 module is called by C, under the names of the standard"
)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr::null_mut,
    sync::{Mutex, OnceLock},
    time::Duration,
};

type Ulong = std::ffi::c_ulong;

/// CK_FUNCTION_LIST (PKCS#11 v2.40): a version and 68 functions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct List {
    version: [u8; 2],
    functions: [*const c_void; 68],
}

unsafe impl Send for List {}
unsafe impl Sync for List {}

#[repr(C)]
#[derive(Clone, Copy)]
struct Attribute {
    kind: Ulong,
    value: *const c_void,
    length: Ulong,
}

const ALWAYS_AUTHENTICATE: Ulong = 0x202;
const CONTEXT_SPECIFIC: Ulong = 2;
const REAL: &CStr = c"/usr/lib/softhsm/libsofthsm2.so";
static LISTS: OnceLock<(List, List)> = OnceLock::new();
static DATA: Mutex<Vec<u8>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *const c_void;
}

/// What the file says of this function.
fn fault(of: &str) -> Option<Ulong> {
    let text = std::fs::read_to_string(std::env::var_os("FAULTS")?).ok()?;
    let mut words =
        text.lines().map(str::split_whitespace).find_map(|mut words| (words.next()? == of).then_some(words))?;
    match words.next()? {
        "hangs" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        "fails" => Ulong::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok(),
        _ => Some(0),
    }
}

macro_rules! call {
    ($number:expr, $name:expr, ($($argument:expr => $kind:ty),*)) => {{
        if let Some(code) = fault($name) && code != 0 {
            return code;
        }
        let real: extern "C" fn($($kind),*) -> Ulong = unsafe { std::mem::transmute(LISTS.get().unwrap().0.functions[$number]) };
        real($($argument),*)
    }};
}

extern "C" fn initialize(arguments: *mut c_void) -> Ulong {
    call!(0, "initialize", (arguments => *mut c_void))
}

extern "C" fn open_session(
    slot: Ulong,
    flags: Ulong,
    data: *mut c_void,
    notify: *mut c_void,
    session: *mut Ulong,
) -> Ulong {
    call!(12, "open-session", (slot => Ulong, flags => Ulong, data => *mut c_void, notify => *mut c_void, session => *mut Ulong))
}

extern "C" fn login(session: Ulong, user: Ulong, pin: *const u8, length: Ulong) -> Ulong {
    let name = if user == CONTEXT_SPECIFIC { "context-login" } else { "login" };
    call!(18, name, (session => Ulong, user => Ulong, pin => *const u8, length => Ulong))
}

type Sign = extern "C" fn(Ulong, *const u8, Ulong, *mut u8, *mut Ulong) -> Ulong;

extern "C" fn sign(session: Ulong, data: *const u8, length: Ulong, signature: *mut u8, room: *mut Ulong) -> Ulong {
    let real: Sign = unsafe { std::mem::transmute(LISTS.get().unwrap().0.functions[43]) };
    match fault("sign") {
        Some(code) if code != 0 => {
            // As the standard has it, a signature that fails has ended.
            let mut nowhere = [0; 256];
            real(session, data, length, nowhere.as_mut_ptr(), &mut (nowhere.len() as Ulong));
            code
        }
        _ => real(session, data, length, signature, room),
    }
}

extern "C" fn sign_update(_session: Ulong, data: *const u8, length: Ulong) -> Ulong {
    *DATA.lock().unwrap() = unsafe { std::slice::from_raw_parts(data, length as usize) }.to_vec();
    0
}

extern "C" fn sign_final(session: Ulong, signature: *mut u8, room: *mut Ulong) -> Ulong {
    let data = DATA.lock().unwrap().clone();
    sign(session, data.as_ptr(), data.len() as Ulong, signature, room)
}

extern "C" fn generate_key_pair(
    session: Ulong,
    mechanism: *mut c_void,
    public: *const Attribute,
    public_length: Ulong,
    private: *const Attribute,
    private_length: Ulong,
    public_key: *mut Ulong,
    private_key: *mut Ulong,
) -> Ulong {
    static TRUE: u8 = 1;
    let mut template = unsafe { std::slice::from_raw_parts(private, private_length as usize) }.to_vec();
    if fault("keys").is_some() {
        template.push(Attribute { kind: ALWAYS_AUTHENTICATE, value: (&raw const TRUE).cast(), length: 1 });
    }
    call!(59, "generate", (session => Ulong, mechanism => *mut c_void, public => *const Attribute, public_length => Ulong,
        template.as_ptr() => *const Attribute, template.len() as Ulong => Ulong, public_key => *mut Ulong, private_key => *mut Ulong))
}

#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: *mut *const List) -> Ulong {
    let (_, ours) = LISTS.get_or_init(|| {
        let mut real = null_mut::<List>();
        let get: extern "C" fn(*mut *mut List) -> Ulong =
            unsafe { std::mem::transmute(dlsym(dlopen(REAL.as_ptr(), 2), c"C_GetFunctionList".as_ptr())) };
        assert_eq!(get(&mut real), 0);
        let real = unsafe { *real };
        let mut ours = real;
        ours.functions[0] = initialize as *const c_void;
        ours.functions[12] = open_session as *const c_void;
        ours.functions[18] = login as *const c_void;
        ours.functions[43] = sign as *const c_void;
        ours.functions[44] = sign_update as *const c_void;
        ours.functions[45] = sign_final as *const c_void;
        ours.functions[59] = generate_key_pair as *const c_void;
        (real, ours)
    });
    unsafe { *list = ours };
    0
}
