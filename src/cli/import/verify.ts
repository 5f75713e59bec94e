import type { Progress } from './progress.ts'
import { IMPORTS, type Sender } from './sender.ts'
import type { Staged, Staging } from './staging.ts'

const USERS_A_REQUEST = 100 // with their claims 800 statements, on any number of shards
const REQUESTS_AT_ONCE = 4
const EXAMPLES_MAX = 10

interface Answer {
  externalId: string
  isHere: boolean
  differences: string[]
}

export interface Verified {
  asked: number
  verified: number
  missing: number
  differing: number
  /** Some of those that are missing or differ. */
  examples: { externalId: string; differences: string[] }[]
}

/** Asks the server of all users that it has not refused, or of a sample, whether they are there as they were sent. */
export async function verify(options: {
  staging: Staging
  source: string
  sender: Sender
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
      inRequests(page).map(async (users) => {
        const body = { source, users: users.map(({ record }) => record) }
        return (await sender.post<{ items: Answer[] }>(`${IMPORTS}/verifications`, body)).items
      }),
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

function* pages(staging: Staging): Generator<Staged[]> {
  for (let n = 0; ; ) {
    const page = staging.page(n, USERS_A_REQUEST * REQUESTS_AT_ONCE)
    if (page.length === 0) return
    yield page
    n = page.at(-1)!.n
  }
}

const inRequests = (page: Staged[]): Staged[][] => inPieces(page, USERS_A_REQUEST)

const inPieces = (users: Staged[], size = USERS_A_REQUEST * REQUESTS_AT_ONCE): Staged[][] =>
  Array.from({ length: Math.ceil(users.length / size) }, (_, index) => users.slice(index * size, (index + 1) * size))
