import { counted, table } from '../shell/table.ts'
import type { Figures, KindFigures } from './figures.ts'
import type { Fault, Finding } from './noun.ts'
import type { Verdict } from './oracle.ts'
import type { Sightings } from './sightings.ts'

const EXAMPLES_EACH_MAX = 5

export interface LoadReport {
  /** The settings of the run. `users` is the number of users who signed up. */
  run: string
  url: string
  rate: number
  users: number
  reads: number
  seed: number
  /** The planned time from the first to the last start. */
  seconds: number
  /** The last entry sums up all kinds. Times run from the planned start to the last answer. */
  kinds: KindFigures[]
  requests: { planned: number; dropped: number; late: number; retries: number; recovered: number; failed: number }
  /** Outcomes of the writes, with all retries. */
  writes: { acknowledged: number; refused: number; unknown: number }
  /**
   * Results of reads during the run. `overdue`: another user's write was missing more than 41 s after its
   * acknowledgement. `notYetSeen`: it was missing within that time.
   */
  sightings: { own: number; stale: number; unexpected: number; notYetSeen: number; overdue: number }
  /**
   * Results of reading back at the end: the number of acknowledged things by plural name, then the faults. `late`:
   * wrong at first, and right within 75 s.
   */
  readBack: Record<string, number> & { late: number } & Record<Fault, number>
  /**
   * Moves that had yet to change the map when reading back started; the report ignores their later effect. Null:
   * unknown.
   */
  movesToCome: number | null
  /** Numbers of failed requests, by reason. */
  failures: Record<string, number>
  /** Examples of faults and delays: up to 5 of each fault, and up to 5 from the run's reads. */
  examples: string[]
  /**
   * True if nothing is lost, doubled, unexpected, unread, stale or overdue, and requests failed only when unreachable.
   */
  isSound: boolean
}

type Asked = Pick<LoadReport, 'run' | 'url' | 'rate' | 'users' | 'reads' | 'seed'>

export function reportOf(
  asked: Asked,
  figures: Figures,
  sightings: Sightings,
  verdict: Verdict & Pick<LoadReport, 'movesToCome'>,
): LoadReport {
  const { run, url, rate, users, reads, seed } = asked
  const { planned, dropped, late, retries, recovered } = figures
  const all = figures.ofAll()
  const faults = countFaults(verdict)
  const { own, stale, unexpected, notYetSeen, overdue } = sightings
  const isWhole = Object.values(faults).every((count) => count === 0)
  return {
    ...{ run, url, rate, users, reads, seed },
    seconds: planned / rate,
    kinds: [...figures.byKind(), all],
    requests: { planned, dropped, late, retries, recovered, failed: all.failed },
    writes: figures.writes,
    sightings: { own, stale, unexpected, notYetSeen, overdue },
    readBack: { ...verdict.things, late: thingsIn(verdict.late), ...faults },
    movesToCome: verdict.movesToCome,
    failures: Object.fromEntries(figures.failures),
    examples: [...examplesOf(verdict), ...sightings.examples],
    isSound: isWhole && stale + unexpected + overdue + figures.faults === 0,
  }
}

/** Several findings about one thing are one fault. */
function countFaults({ findings }: Verdict): Record<Fault, number> {
  const count = (fault: Fault) => thingsIn(findings.filter((finding) => finding.fault === fault))
  return { lost: count('lost'), doubled: count('doubled'), unexpected: count('unexpected'), unread: count('unread') }
}

const thingsIn = (findings: Finding[]): number => new Set(findings.map(({ about }) => about)).size

function examplesOf({ findings, late }: Verdict): string[] {
  const named = [...findings, ...late.map((finding) => ({ ...finding, fault: 'late' }))]
  const byThing = new Map(named.map((finding) => [`${finding.fault} ${finding.about}`, finding]))
  const byFault = Map.groupBy(byThing.values(), ({ fault }) => fault)
  return [...byFault].flatMap(([fault, some]) =>
    some.slice(0, EXAMPLES_EACH_MAX).map(({ what }) => `${fault}: ${what}`),
  )
}

/** The report as text. */
export function reportText(report: LoadReport): string {
  const { requests, writes, sightings } = report
  const { late, lost, doubled, unexpected, unread, ...things } = report.readBack
  const head = ['request', 'n', 'p50', 'p99', 'max', 'failed']
  const rows = report.kinds.map(({ kind, n, p50Ms, p99Ms, maxMs, failed }) => [
    kind,
    n.toLocaleString('en'),
    ...[p50Ms, p99Ms, maxMs].map((ms) => (n === 0 ? '' : `${ms.toFixed(0)} ms`)),
    failed.toLocaleString('en'),
  ])
  const { notYetSeen, overdue } = sightings
  const { movesToCome } = report
  const failures = Object.entries(report.failures).map(([reason, times]) => `  ${times} × ${reason}`)
  return [
    `${report.url}: ${report.rate}/s for ${report.seconds.toFixed(0)} s, ${counted(report.users, 'user')}, ${percent(report.reads)} reads; seed ${report.seed}, run ${report.run}`,
    '',
    table(head, rows, 1),
    '',
    `requests   ${listed(requests)}`,
    `writes     ${listed(writes)}`,
    `own reads  ${sightings.own.toLocaleString('en')}, ${sightings.stale} of them stale`,
    ...(notYetSeen + overdue > 0 ? [`others’    ${notYetSeen} not yet seen, ${overdue} overdue`] : []),
    `read back  ${countedThings(things)}: ${lost} lost, ${doubled} doubled, ${unexpected + sightings.unexpected} unexpected, ${unread} unread${late > 0 ? `, ${late} late` : ''}`,
    ...(movesToCome ? [`moves      ${movesToCome} open: the report does not cover what they move from now on`] : []),
    ...(failures.length > 0 ? ['', 'failed', ...failures] : []),
    ...(report.examples.length > 0 ? ['', 'wrong', ...report.examples.map((example) => `  ${example}`)] : []),
  ].join('\n')
}

/** `69 notes, 1 photo`, from counts by plural. */
const countedThings = (things: Record<string, number>): string =>
  Object.entries(things)
    .map(([plural, count]) => counted(count, plural.replace(/s$/, '')))
    .join(', ') || 'nothing'

const listed = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${count.toLocaleString('en')} ${name}`)
    .join(', ')

const percent = (share: number): string => `${(share * 100).toFixed(0)}%`
