import { Client, type ClientOptions, type Clock, type Ended } from './client.ts'
import type { Check, Finding, LoadPart, Reader } from './noun.ts'

const READERS = 8

// A cache may be a minute old, a replica may lag, and an unavailable server may come back.
const SETTLE_MS = 75_000
const PAUSE_MS = 2_000

export interface Verdict {
  /** Number of acknowledged things, by plural name. */
  things: Record<string, number>
  findings: Finding[]
  /** Findings that were gone when the thing was read again. */
  late: Finding[]
}

export interface Oracle {
  base: URL
  clientOptions: ClientOptions
  parts: LoadPart[]
  onProgress(done: number, of: number): void
}

/**
 * Runs all nouns' checks, which read back everything that was acknowledged, with clients without a token. Wrong things
 * are read again for 75 s.
 */
export async function readBack({ base, clientOptions, parts, onProgress }: Oracle): Promise<Verdict> {
  const stranger = new Stranger(base, clientOptions)
  const checks: Check[] = []
  const things: Record<string, number> = {}
  for (const { thing } of parts) {
    if (!thing) continue
    const read = thing.readBack(stranger)
    checks.push(...read.checks)
    things[`${thing.name}s`] = read.count
  }
  const found = await untilSettled(checks, stranger, clientOptions.clock, onProgress)
  return { things, ...found }
}

/** The finding if an answer does not contain the thing: lost for a 404, unread without an answer. Otherwise null. */
export function findMissing(about: string, ended: Ended, what = about): Finding | null {
  if (ended.status === 404) return { fault: 'lost', about, what: `${what}: not found` }
  return ended.outcome === 'acknowledged' ? null : unread(about, ended)
}

/** @public For nouns. */
export const unread = (about: string, { reason }: Ended): Finding => ({
  fault: 'unread',
  about,
  what: `${about}: ${reason}`,
})

async function untilSettled(
  checks: Check[],
  stranger: Stranger,
  clock: Clock,
  onProgress: Oracle['onProgress'],
): Promise<Pick<Verdict, 'findings' | 'late'>> {
  let open = checks
  const before: Finding[] = []
  for (let settledAt: number | null = null; ; await clock.sleep(PAUSE_MS)) {
    stranger.isSilent = false
    const checked = await runChecks(open, (done) => onProgress(checks.length - open.length + done, checks.length))
    const findings = checked.flatMap((one) => one.findings)
    settledAt ??= clock.now() + SETTLE_MS
    if (!findings.some(({ fault }) => fault !== 'doubled') || clock.now() >= settledAt)
      return { findings, late: lateOf(before, findings) }
    before.push(...findings)
    open = checked.filter((one) => one.findings.length > 0).map(({ check }) => check)
  }
}

/** An unread thing that is found in the end was not late, because its state was unknown. */
function lateOf(before: Finding[], findings: Finding[]): Finding[] {
  const wrong = new Set(findings.map(({ about }) => about))
  return before.filter(({ fault, about }) => fault !== 'unread' && !wrong.has(about))
}

interface Checked {
  check: Check
  findings: Finding[]
}

/** Runs eight checks at a time. Results are in the order of the checks. */
async function runChecks(checks: Check[], onDone: (done: number) => void): Promise<Checked[]> {
  const checked: Checked[] = []
  const queue = checks.entries()
  let done = 0
  const work = async () => {
    for (const [index, check] of queue) {
      checked[index] = { check, findings: await check() }
      onDone(++done)
    }
  }
  await Promise.all(Array.from({ length: READERS }, work))
  return checked
}

/** A reader without a token. A server that does not answer for 15 s is asked once per round, not once per thing. */
class Stranger implements Reader {
  readonly #base: URL
  readonly #options: ClientOptions
  isSilent = false

  constructor(base: URL, clientOptions: ClientOptions) {
    this.#base = base
    this.#options = clientOptions
  }

  async get(path: string): Promise<Ended> {
    if (this.isSilent) return SILENT
    const ended = await new Client(this.#base, this.#options).request('GET', path)
    if (ended.status === 0) this.isSilent = true
    return ended
  }
}

const SILENT: Ended = {
  outcome: 'unknown',
  status: 0,
  body: '',
  reason: 'the server does not answer',
  tries: 0,
  wasUncertain: false,
  isGone: true,
}
