// Verifies signatures by the platform's own cryptography, each on its own, as edge/src/workers/webcrypto.rs does. The answers come in the order of
// the questions: `valid` where the platform told, otherwise `error`, and whether it took the key.
import questions from "questions.json";

// Mirrors `algorithm` of webcrypto.rs: account keys.
const ACCOUNT_KEYS = {
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  ES384: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
};

// Mirrors `x509_algorithm` of webcrypto.rs: keys of certificates and of requests for them.
const CERTIFIED_KEYS = {
  P256: (plain) => ({ name: "ECDSA", namedCurve: "P-256", hash: plain.hash }),
  P384: (plain) => ({ name: "ECDSA", namedCurve: "P-384", hash: plain.hash }),
  Rsa: (plain) => ({ name: "RSASSA-PKCS1-v1_5", hash: plain.hash }),
};

const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));

async function answer({ key, message, signature }) {
  let taken = false;
  try {
    const [format, material, algorithm] =
      key.jwk === undefined
        ? ["spki", bytes(key.spki), CERTIFIED_KEYS[key.kind](key)]
        : ["jwk", JSON.parse(key.jwk), ACCOUNT_KEYS[key.algorithm]];
    const imported = await crypto.subtle.importKey(format, material, algorithm, false, ["verify"]);
    taken = true;
    return { taken, valid: await crypto.subtle.verify(algorithm, imported, bytes(signature), bytes(message)) };
  } catch (error) {
    return { taken, error: String(error) };
  }
}

export default {
  async fetch() {
    const answers = [];
    for (const question of questions) answers.push(await answer(question));
    return Response.json(answers);
  },
};
