import { WorkerEntrypoint } from 'cloudflare:workers'
import { systemClock } from '../../src/core/clock.ts'
import { present } from '../../src/core/present.ts'
import { systemRandom } from '../../src/core/random.ts'
import { d1Binding, type SentAnswer, type SentCall } from '../../test/support/d1-binding.ts'
import { copyDatabase } from '../../test/support/database-copy.ts'
import { type LaggingDatabase, replicated, wanderingLag } from '../../test/support/replicated-database.ts'
import worker, { type ClusterEnv } from './worker.ts'

export * from './worker.ts'

/** The cluster's Worker, whose shard has read replicas that lag behind. */
interface ReplicatedEnv extends ClusterEnv {
  /** In a web server: the Worker that has the double of the shard. */
  REPLICATION?: Pick<ReplicatedShard, 'ask' | 'control'>
  SHARD_000: D1Database
  /** The longest lag of a replica (ms). */
  LAG_MS: string
  REPLICA_1: D1Database
  REPLICA_2: D1Database
  REPLICA_3: D1Database
}

export interface ReplicationStatus {
  primary: MemberStatus
  replicas: MemberStatus[]
  /** The values of each call that the latest promotion lost, as JSON. */
  lost: string[]
}

export interface MemberStatus {
  name: string
  reads: number
  writes: number
  waits: number
}

/** All web servers share one double, in the isolate of the Worker with the background work. Null until it is started. */
let double: LaggingDatabase | null = null
let lost: string[] = []

export class ReplicatedShard extends WorkerEntrypoint<ReplicatedEnv> {
  ask(call: SentCall): Promise<SentAnswer> {
    const { replication } = double ?? withReplicas(this.env, [])
    return replication.ask(call)
  }

  async control(verb: string): Promise<ReplicationStatus> {
    if (verb === 'start') double = await start(this.env)
    if (!double) throw new Error('The replicas have not been started.')
    const { replication } = double
    if (verb === 'lose') replication.losePrimary()
    if (verb === 'promote') {
      const received = replication.replicas.map((replica) => replication.receivedBy(replica))
      const furthestBehind = present(replication.replicas[received.indexOf(Math.min(...received))], 'a replica')
      const calls = await replication.promote(furthestBehind)
      lost = calls.map(({ statements }) => JSON.stringify(statements.map(({ values }) => values)))
    }
    const status = ({ name, reads, writes, waits }: MemberStatus) => ({ name, reads, writes, waits })
    return { primary: status(replication.primary), replicas: replication.replicas.map(status), lost }
  }
}

/** Call it when the directory has prepared the primary. From then on, only the double writes there. */
async function start(env: ReplicatedEnv): Promise<LaggingDatabase> {
  const replicas = [env.REPLICA_1, env.REPLICA_2, env.REPLICA_3]
  await copyDatabase(env.SHARD_000, replicas)
  return withReplicas(env, replicas)
}

function withReplicas(env: ReplicatedEnv, replicas: D1Database[]): LaggingDatabase {
  const common = { clock: systemClock, random: systemRandom }
  return replicated(env.SHARD_000, replicas, { ...common, lagMs: wanderingLag(common, Number(env.LAG_MS)) })
}

/** The bindings of a web server, with the double as its shard. The application keeps its isolate's state for them. */
let wrapped: ReplicatedEnv | null = null

export default {
  async fetch(request, env, context) {
    const { REPLICATION } = env
    if (!REPLICATION || request.headers.get('x-cluster-key') !== env.CLUSTER_KEY)
      return worker.fetch(request, env, context)
    const verb = request.headers.get('x-cluster-replication')
    if (verb !== null) return Response.json(await REPLICATION.control(verb))
    wrapped ??= { ...env, SHARD_000: d1Binding((call) => REPLICATION.ask(call)) }
    return worker.fetch(request, wrapped, context)
  },
  queue: worker.queue,
  scheduled: worker.scheduled,
} satisfies ExportedHandler<ReplicatedEnv>
