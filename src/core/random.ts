/** Randomness as an argument, so that tests and the simulation decide it. */
export interface Random {
  /** `length` random bytes of cryptographic quality. */
  bytes(length: number): Uint8Array
  /** A number in [0, 1) with 32 bits of cryptographic quality. */
  fraction(): number
}

export const systemRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  fraction: () => new DataView(crypto.getRandomValues(new Uint8Array(4)).buffer).getUint32(0) / 2 ** 32,
}

/** Full jitter: a wait in [0, min(cap, base · 2^attempt)) ms (Brooker, "Exponential Backoff And Jitter"). */
export function backoffMs(random: Random, attempt: number, baseMs: number, capMs: number): number {
  return random.fraction() * Math.min(capMs, baseMs * 2 ** attempt)
}
