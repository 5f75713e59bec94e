import type { ProbePage } from '../../console/shapes.ts'
import { type Connection, connect } from '../shell/client.ts'
import { AnswerLost, NotNow, UserError } from '../shell/errors.ts'
import { pagesOf } from '../shell/pages.ts'
import { counted } from '../shell/table.ts'
import type { Deployment } from './deployment.ts'
import type { Check } from './steps.ts'

export type ProbeReport = Omit<ProbePage, 'next'>
type ProbeItem = ProbeReport['items'][number]

/** A new version may take a while until it answers everywhere, and the previous version may lack the route. */
const WAITS_MAX = 30
const WAIT_MS = 2_000
const NAMED_MAX = 10

/** Asks the deployed version to probe its databases, a few per request. Throws UserError. */
export async function probe(connection: Pick<Connection, 'post'>): Promise<ProbeReport> {
  const report: ProbeReport = { items: [], leftOut: [] }
  const pages = pagesOf((after) => connection.post<ProbePage>('/operator/v1/probe', after === null ? {} : { after }))
  for await (const { items, leftOut } of pages) {
    report.items.push(...items)
    report.leftOut.push(...leftOut)
  }
  return report
}

/** The last step of a deployment, because a version that misreads its databases' refusals must not serve. */
export function probeCheck(
  { sleep }: Pick<Deployment, 'sleep'>,
  address: () => string,
  token: () => string | undefined,
): Check {
  return {
    name: 'probe',
    asks: '/operator/v1/probe',
    async check() {
      const known = token()
      if (!known) return 'skipped, because no operators’ token is known: npm run banyan -- probe --token TOKEN'
      const connection = connect({ url: address(), token: known, pause: sleep })
      const report = await whenThere(sleep, () => probe(connection))
      const failed = failedOf(report)
      if (failed.length === 0) return passedText(report)
      throw new UserError(
        `The version is deployed, but misreads the refusals of its databases.\n${failedText(report, failed)}`,
        ADVICE,
      )
    },
  }
}

async function whenThere(sleep: Deployment['sleep'], ask: () => Promise<ProbeReport>): Promise<ProbeReport> {
  for (let waits = 0; ; waits++) {
    try {
      return await ask()
    } catch (error) {
      const isMissing = error instanceof UserError && error.code === 'NOT_FOUND'
      // The client has already made five attempts if the answer was lost.
      const isComing = isMissing || (error instanceof NotNow && !(error instanceof AnswerLost))
      if (!isComing || waits === WAITS_MAX) throw error
      await sleep(WAIT_MS)
    }
  }
}

export const failedOf = ({ items }: ProbeReport): ProbeItem[] => items.filter(({ ok }) => !ok)

export function passedText({ items, leftOut }: ProbeReport): string {
  const databases = counted(new Set(items.map(({ binding }) => binding)).size, 'database')
  const cases = counted(new Set(items.map(({ case: name }) => name)).size, 'case')
  const restoring = leftOut.length === 0 ? '' : `; skipped, because they are being restored: ${leftOut.join(', ')}`
  return `${databases} refused as expected in ${cases}, and nothing was written${restoring}`
}

export function failedText({ items }: ProbeReport, failed: ProbeItem[]): string {
  const lines = failed
    .slice(0, NAMED_MAX)
    .map(({ binding, case: name, expected, met, text }) =>
      [`  ${binding}, ${name}: expected ${expected}, got ${met}`, ...(text === '' ? [] : [`    ${text}`])].join('\n'),
    )
  const more = failed.length - NAMED_MAX
  return [
    `${failed.length} of ${counted(items.length, 'probe')} failed. The databases answered:`,
    ...lines,
    ...(more > 0 ? [`  and ${more} more: npm run banyan -- probe --json`] : []),
  ].join('\n')
}

export const ADVICE =
  'Make the previous version live again: npm run banyan -- rollback. Report the texts, because src/sharding/answers.ts must know each of them. "no answer" and "not-migrated" mean that the database itself needs attention, so check it first. To probe again: npm run banyan -- probe'
