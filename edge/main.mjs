// The guard: what the platform runs. It wraps the WebAssembly module in a time limit.
//
// A trap in WebAssembly (a panic, or memory that ran out) resets the memory of every object in the isolate and forgets the
// promises that were waiting: without a guard their callers hang. No timer inside the module helps, because it is forgotten
// too. This one lives outside, so every caller gets an answer; what was committed before the trap is driven on by alarms.
import { env } from "cloudflare:workers";
import Front, * as objects from "./build/index.js";

const LIMIT_MS = Number(env.GUARD_TIMEOUT_MS ?? 30000);

// The module schedules each poll of a future by it. The platform's makes an object of its own for each; the engine's promises do
// the same at a fifth of the price. What a poll throws still becomes an error event, by which a trap is noticed.
globalThis.queueMicrotask = (task) => {
  Promise.resolve().then(task).catch(reportError);
};

/** Settles as `call()` does, or rejects after the limit. */
function limited(call) {
  return new Promise((resolve, reject) => {
    const answer = call();
    const timer = setTimeout(() => reject(new Error(`no answer within ${LIMIT_MS} ms`)), LIMIT_MS);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** The answer of that promise, or a 503 that says when to come back (RFC 8555 §6.7, RFC 9110 §15.6.4). */
async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    console.error("guard:", error);
    const problem = {
      type: "urn:ietf:params:acme:error:serverInternal",
      detail: "Something failed on our side. Try again; nothing that was confirmed is lost.",
      status: 503,
    };
    const headers = {
      "Content-Type": "application/problem+json",
      "Retry-After": "5",
      "Cache-Control": "no-store",
      "Access-Control-Allow-Origin": "*",
      "Access-Control-Expose-Headers": "Retry-After",
    };
    return new Response(JSON.stringify(problem), { status: 503, headers });
  }
}

/**
 * An object whose requests are answered in time, and whose failed alarms the platform repeats. For what the front passes on, which
 * has this header, the front's own limit is enough.
 */
const guarded = (Base) =>
  class extends Base {
    fetch(request) {
      const call = () => super.fetch(request);
      return answered(request.headers.has("Colophon-Asked-Secret") ? call() : limited(call));
    }

    async alarm() {
      return limited(() => super.alarm());
    }
  };

// One front for all requests: it holds nothing of any of them.
let front;

export default {
  fetch(request, env, context) {
    front ??= new Front(context, env);
    return answered(limited(() => front.fetch(request)));
  },
};

export const Account = guarded(objects.Account);
export const NonceShard = guarded(objects.NonceShard);
export const Journal = guarded(objects.Journal);
export const Meter = guarded(objects.Meter);
export const Perspective = guarded(objects.Perspective);
export const Status = guarded(objects.Status);
