import type { SentAnswer, SentCall } from '../support/d1-binding.ts'
import { type Copy, onlyReads, ReplicatedDatabase, wanderingLag } from '../support/replicated-database.ts'
import type { SimulatedShard } from './database.ts'
import { newPlace, type Place } from './network.ts'
import { REPLICAS_MAX } from './scale.ts'
import type { Scheduler } from './scheduler.ts'
import type { TemplateShard } from './template.ts'

type Through = (execute: () => D1Result<unknown>[]) => D1Result<unknown>[]

/** A database as a copy of a shard. */
class HostedCopy implements Copy {
  readonly host: SimulatedShard

  constructor(host: SimulatedShard) {
    this.host = host
  }

  execute({ statements, shape }: Omit<SentCall, 'start'>): D1Result<unknown>[] {
    return this.host.execute({ statements }, shape)
  }
}

/** A shard with one to three lagging replicas, which answer although the shard itself is unavailable. */
export class ReplicatedShard {
  readonly replication: ReplicatedDatabase
  readonly #place: Place

  constructor({ id, simulated, replicas }: TemplateShard, scheduler: Scheduler, lagMsMax: number) {
    const clock = { now: () => scheduler.now(), sleep: (ms: number) => scheduler.sleep(ms) }
    const { random } = scheduler
    this.#place = newPlace(`replicas of ${id}`)
    this.replication = new ReplicatedDatabase(
      new HostedCopy(simulated),
      replicas.slice(0, scheduler.between(1, REPLICAS_MAX)).map((replica) => new HostedCopy(replica)),
      {
        clock,
        random,
        lagMs: wanderingLag({ clock, random }, lagMsMax),
        choose: (members) => scheduler.pick(members),
      },
    )
  }

  /** Where a call goes to. */
  placeOf(call: SentCall, primary: Place): Place {
    const { start } = call
    if (start === null || start === 'first-primary') return primary
    return onlyReads(call) ? this.#place : primary
  }

  ask(call: SentCall, through: Through): Promise<SentAnswer> {
    return this.replication.ask(call, (execute) => through(execute as () => D1Result<unknown>[]))
  }
}
