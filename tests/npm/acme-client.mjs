// A whole life of an account by the library acme-client, as a program of its users would be: account, contacts, key rollover, a
// certificate by http-01, its revocation, deactivation. Prints what it saw as one line of JSON; fails when anything does.
import http from "node:http";
import acme from "acme-client";

const { DIRECTORY, HTTP_PORT, NAME } = process.env;

const answers = new Map();
const server = http.createServer((request, response) => response.end(answers.get(request.url) ?? ""));
await new Promise((listening) => server.listen(Number(HTTP_PORT), "127.0.0.1", listening));

const client = new acme.Client({ directoryUrl: DIRECTORY, accountKey: await acme.crypto.createPrivateEcdsaKey() });
const made = await client.createAccount({ termsOfServiceAgreed: true, contact: ["mailto:first@clients.test"] });
const updated = await client.updateAccount({ contact: ["mailto:second@clients.test"] });
const accountUrl = client.getAccountUrl();

const newKey = await acme.crypto.createPrivateEcdsaKey();
await client.updateAccountKey(newKey);
// With the new key alone the same account is found.
const again = new acme.Client({ directoryUrl: DIRECTORY, accountKey: newKey });
await again.createAccount({ onlyReturnExisting: true });

const [key, csr] = await acme.crypto.createCsr({ altNames: [NAME] });
const chain = await again.auto({
  csr,
  skipChallengeVerification: true,
  challengePriority: ["http-01"],
  challengeCreateFn: async (_, challenge, keyAuthorization) =>
    answers.set(`/.well-known/acme-challenge/${challenge.token}`, keyAuthorization),
  challengeRemoveFn: async () => {},
});

const order = await again.createOrder({ identifiers: [{ type: "dns", value: `given-up.${NAME}` }] });
const [authorization] = await again.getAuthorizations(order);
const givenUp = await again.deactivateAuthorization(authorization);

await again.revokeCertificate(chain, { reason: 4 });
const twice = await again.revokeCertificate(chain, { reason: 4 }).then(
  () => "revoked twice",
  (error) => error.message,
);
const ended = await again.updateAccount({ status: "deactivated" });
const after = await again.createOrder({ identifiers: [{ type: "dns", value: NAME }] }).then(
  () => "ordered",
  () => "refused",
);
server.close();

console.log(
  JSON.stringify({
    made: made.status,
    contact: updated.contact,
    same: again.getAccountUrl() === accountUrl,
    chain,
    key: key.toString(),
    givenUp: givenUp.status,
    twice,
    ended: ended.status,
    after,
  }),
);
