import type { ImportOutcome, ImportRecord } from './noun.ts'
import type { Progress } from './progress.ts'
import type { Sender } from './sender.ts'
import type { Staged, Staging } from './staging.ts'

const USERS_A_REQUEST = 100 // with their claims 800 statements, on any number of shards
const REQUESTS_AT_ONCE = 4
const EXAMPLES_MAX = 10

export interface Verified {
  asked: number
  verified: number
  missing: number
  differing: number
  /** Up to ten users that are missing or differ. */
  examples: { externalId: string; differences: string[] }[]
}

/** Asks the server whether all users that it did not refuse, or a sample of them, exist as they were sent. */
export async function verify<R extends ImportRecord, O extends ImportOutcome>(options: {
  staging: Staging<R>
  source: string
  sender: Sender<R, O>
  progress: Progress
  how: 'all' | 'sample' | 'none'
  sampleUsers: number
}): Promise<Verified> {
  const { staging, source, sender, progress, how, sampleUsers } = options
  const verified: Verified = { asked: 0, verified: 0, missing: 0, differing: 0, examples: [] }
  if (how === 'none') return verified
  const total = how === 'all' ? staging.importable() : Math.min(sampleUsers, staging.importable())
  for (const page of how === 'all' ? pages(staging) : inPieces(staging.sample(sampleUsers))) {
    const answers = await Promise.all(
      inRequests(page).map((some) =>
        sender.verifyRecords(
          source,
          some.map(({ record }) => record),
        ),
      ),
    )
    for (const { externalId, isHere, differences } of answers.flat()) {
      verified.asked++
      if (!isHere) verified.missing++
      else if (differences.length > 0) verified.differing++
      else verified.verified++
      if ((!isHere || differences.length > 0) && verified.examples.length < EXAMPLES_MAX)
        verified.examples.push({ externalId, differences })
    }
    progress.show(
      `verifying: ${verified.asked.toLocaleString('en')} of ${total.toLocaleString('en')}`,
      verified.asked / total,
    )
  }
  return verified
}

function* pages<R extends ImportRecord>(staging: Staging<R>): Generator<Staged<R>[]> {
  for (let n = 0; ; ) {
    const page = staging.page(n, USERS_A_REQUEST * REQUESTS_AT_ONCE)
    const last = page.at(-1)
    if (!last) return
    yield page
    n = last.n
  }
}

const inRequests = <T>(page: T[]): T[][] => inPieces(page, USERS_A_REQUEST)

const inPieces = <T>(all: T[], size = USERS_A_REQUEST * REQUESTS_AT_ONCE): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size))
