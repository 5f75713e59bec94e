import { migrations } from '../dist/migrations.ts'
import { tables } from '../dist/tables.ts'
import type { OperatorContext } from '../src/console/context.ts'
import { systemClock } from '../src/core/clock.ts'
import { limits } from '../src/core/limits.ts'
import { Backfills } from '../src/jobs/backfills.ts'
import { askBacklog } from '../src/jobs/backlog.ts'
import { directoryClient } from '../src/objects/directory-client.ts'
import { moverClient } from '../src/objects/movers.ts'
import { probeShards } from '../src/sharding/probe.ts'
import { surveyReplicas } from '../src/sharding/replica-survey.ts'
import type { Tiers } from '../src/web/context.ts'
import type { Env } from './env.ts'
import { isolateOf } from './isolate.ts'
import { backfills, nouns } from './nouns.ts'

/** The services that operators use besides the tiers of their request. */
export function openOperators(
  { settings, shards, clock, ids, log, time, calls, jobs, follow }: Tiers,
  bindings: unknown,
): OperatorContext {
  const env = bindings as Env
  const { engine, load, replicas: replicaCounts } = isolateOf(env)
  const queues = { mail: env.MAIL_QUEUE, jobs: env.JOBS_QUEUE, media: env.MEDIA_QUEUE, purges: env.PURGES_QUEUE }
  const directory = directoryClient({ engine, time, count: () => void calls.directory++ })
  return {
    clock,
    log,
    shards,
    directory,
    movers: moverClient({ engine, log, time }),
    backfills: new Backfills({
      backfills,
      shards,
      clock,
      ids,
      follow,
      pauses: jobs.pauses,
    }),
    migrations,
    tables,
    usersTable: nouns.find((noun) => noun.usersTable)?.usersTable ?? null,
    userList: nouns.find((noun) => noun.userList)?.userList ?? null,
    async probe(after) {
      const { map } = await directory.map()
      const restoring = map.shards.filter(({ state }) => state === 'restoring')
      const isLeftOut = (name: string) => restoring.some(({ binding }) => binding === name)
      return probeShards({ databases: engine.shards, after, isLeftOut, clock: systemClock })
    },
    replicas: settings.replicas,
    replicaCounts: { ...replicaCounts },
    surveyReplicas: (after) => surveyReplicas({ databases: engine.shards, after, clock: systemClock }),
    pauses: jobs.pauses,
    queueOfKinds: jobs.queues,
    backlog: (queue) => askBacklog(queues[queue], systemClock),
    follow,
    followMax: settings.jobs === 'inline' ? limits.redriveInlineMax : limits.redriveLettersMax,
    shardLoad: (shard) => ({ queriesPerSecond: load.queriesPerSecond(shard) }),
  }
}
