import { eachAtMost } from '../core/bounded.ts'
import { type Clock, inTime, TimeBudget } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

/** Which members of one database answered some reads. */
interface ReplicaReads {
  binding: string
  /** One entry per member, by region. A database without replicas has only its primary. */
  members: { region: string | null; isPrimary: boolean; reads: number }[]
  /** Why reads failed, if any did. */
  error: string | null
}

export interface ReplicaSurvey {
  items: ReplicaReads[]
  /** The last binding of this page, if there are more. */
  next: string | null
}

export interface ReplicaSurveyOptions {
  databases: ReadonlyMap<string, D1Database>
  /** The last binding of the previous page, or null. */
  after: string | null
  clock: Clock
}

/** Reads no row, so D1 bills nothing for it. */
const READ = 'SELECT 1'

/**
 * Sends each database some reads that any of its members may answer, each in a session of its own, and reports which
 * ones did. The platform chooses the members near this isolate, so other places may see others. Never throws: a database
 * that does not answer is a result.
 */
export async function surveyReplicas({ databases, after, clock }: ReplicaSurveyOptions): Promise<ReplicaSurvey> {
  const rest = [...databases].filter(([binding]) => after === null || binding > after)
  const page = rest.slice(0, limits.replicaSurveyShardsMax)
  const found = new Map<string, ReplicaReads>()
  const time = new TimeBudget(clock, limits.replicaSurveyMs)
  await eachAtMost(limits.shardsAtOnceMax, page, async ([binding, database]) => {
    found.set(binding, await readsOf(binding, database, { clock, time }))
  })
  return {
    items: page.flatMap(([binding]) => found.get(binding) ?? []),
    next: rest.length > page.length ? (page.at(-1)?.[0] ?? null) : null,
  }
}

/** Stops at the first read without an answer, because the others would wait as long. */
async function readsOf(
  binding: string,
  database: D1Database,
  { clock, time }: { clock: Clock; time: TimeBudget },
): Promise<ReplicaReads> {
  const members = new Map<string, ReplicaReads['members'][number]>()
  const result = (error: string | null) => ({ binding, members: [...members.values()], error })
  for (let sent = 0; sent < limits.replicaSurveyReads; sent++) {
    if (time.isSpent) return result('not asked, because other databases did not answer in time')
    try {
      const read = database.withSession('first-unconstrained').prepare(READ).all()
      const { meta } = await inTime(clock, limits.shardProbeMs, read)
      const region = meta.served_by_region ?? null
      // A database that does not say who answered has no replicas.
      const isPrimary = meta.served_by_primary ?? true
      const key = `${region} ${isPrimary}`
      const member = members.get(key) ?? { region, isPrimary, reads: 0 }
      members.set(key, { ...member, reads: member.reads + 1 })
    } catch (error) {
      return result(messageOf(error))
    }
  }
  return result(null)
}
