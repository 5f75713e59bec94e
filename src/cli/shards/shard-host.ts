import type { Connection } from '../shell/client.ts'
import type { ShardBinding } from '../wrangler/shard-bindings.ts'

/** Where the databases are made, and how the live version comes to have their bindings. */
export interface ShardHost {
  configPath: string
  /** To the application that they join. */
  connection: Connection
  /** The shards of a configuration, with the ids that are used there. */
  bound(text: string): ShardBinding[]
  /** Databases that are there and migrated, when it resolves. */
  prepare(shards: ShardBinding[]): Promise<void>
  /** After the configuration binds them: the version that does is live, or will be without further ado. */
  release(): Promise<void>
}
