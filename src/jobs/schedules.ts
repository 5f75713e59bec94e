import { parseCronExpression } from 'cron-schedule'
import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { derivedId, systemId } from '../core/ids.ts'
import type { Log } from '../core/log.ts'
import type { Shards } from '../sharding/shards.ts'
import { type Job, outboxStatementOnlyIf } from './outbox.ts'

/** A job that is created regularly. It has no owner among the users. */
export interface Schedule {
  /** Unique across nouns. It decides the slot of the schedule and of its jobs. */
  name: string
  /** In cron's form: minute, hour, day of the month, month, day of the week. In the runtime's zone, which is UTC. */
  cron: string
  kind: string
  body: Job['body']
}

interface ScheduleTools {
  shards: Shards
  clock: Clock
  log: Log
  /** Sends the created jobs. */
  follow(jobs: Job[]): Promise<void>
}

/**
 * Creates the jobs of the schedules that are due. Schedules live in the shards, so a time that was missed while the cron
 * or a shard was unavailable is made up for, once. Two runs of the cron create one job. Resolves to the number of jobs.
 */
export async function runSchedules(schedules: readonly Schedule[], tools: ScheduleTools): Promise<number> {
  const due: Job[] = []
  for (const schedule of schedules) {
    try {
      due.push(...(await runSchedule(schedule, tools)))
    } catch (error) {
      tools.log.error('schedule.failed', { schedule: schedule.name, reason: messageOf(error) })
    }
  }
  await tools.follow(due)
  return due.length
}

async function runSchedule({ name, cron, kind, body }: Schedule, { shards, clock }: ScheduleTools): Promise<Job[]> {
  const now = clock.now()
  const ownerId = systemId(`schedule.${name}`)
  const id = `${ownerId.slice(0, 4)}.${name}`
  const next = nextAfter(cron, now)
  const nextAt = await shards
    .of(ownerId, { read: 'exact', operation: 'schedules.read' })
    .prepare('SELECT next_at FROM schedules WHERE id = ?')
    .bind(id)
    .first<number>('next_at')
  // An earlier time than the row's means that the schedule has changed.
  if (nextAt !== null && nextAt > now && nextAt <= next) return []
  const database = shards.of(ownerId, { operation: 'schedules.run', idempotent: true })
  const kept = database
    .prepare(
      'INSERT INTO schedules (id, next_at) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET next_at = excluded.next_at WHERE next_at = ?3',
    )
    .bind(id, next, nextAt)
  if (nextAt === null || nextAt > now) {
    await kept.run()
    return []
  }
  const job: Job = { id: derivedId(ownerId, nextAt, name), ownerId, kind, body, createdAt: now, attempts: 0 }
  const isDue = { sql: 'EXISTS (SELECT 1 FROM schedules WHERE id = ? AND next_at = ?)', values: [id, nextAt] }
  const [, changed] = await database.batch([outboxStatementOnlyIf(database, job, isDue), kept])
  return changed?.meta.changes === 1 ? [job] : []
}

/** The first time after `now` (ms) at which the schedule is due. Throws for a malformed expression. */
const nextAfter = (cron: string, now: number): number => parseCronExpression(cron).getNextDate(new Date(now)).getTime()
