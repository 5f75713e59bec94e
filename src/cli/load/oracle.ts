import { Client, type ClientOptions, type Clock, type Ended } from './client.ts'
import type { Check, Finding, LoadPart, Reader } from './noun.ts'

const READERS = 8

// A replica may lag, and an unavailable server may come back.
const SETTLE_MS = 75_000
const PAUSE_MS = 2_000

export interface Verdict {
  /** How many of each thing were acknowledged, by its plural. */
  things: Record<string, number>
  findings: Finding[]
  /** What was wrong at first, and right when it was read again. */
  late: Finding[]
}

export interface Oracle {
  base: URL
  clientOptions: ClientOptions
  parts: LoadPart[]
  onProgress(done: number, of: number): void
}

/**
 * Runs all nouns' checks, which read back everything that was acknowledged, by clients without a token. What is wrong is
 * read again for 75 s.
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

/** What an answer in place of a thing means: lost if nobody finds it, unread if nobody answers; null if it is there. */
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

/** An unread thing is not late when it is there at last: nothing was known of it. */
function lateOf(before: Finding[], findings: Finding[]): Finding[] {
  const wrong = new Set(findings.map(({ about }) => about))
  return before.filter(({ fault, about }) => fault !== 'unread' && !wrong.has(about))
}

interface Checked {
  check: Check
  findings: Finding[]
}

/** Eight at a time; resolves to the results in the order of the checks. */
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

/** A server that does not answer for 15 s is asked once per round, not once per thing. */
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
  reason: 'nobody answers',
  tries: 0,
  wasUncertain: false,
  isGone: true,
}
