import type { Connection } from '../shell/client.ts'
import type { ShardBinding } from '../wrangler/shard-bindings.ts'

/** Creates the databases, and brings their bindings into the live version. */
export interface ShardHost {
  configPath: string
  /** Leads to the application that the shards join. */
  connection: Connection
  /** The shards of a configuration, with the database ids that this host uses. */
  bound(text: string): ShardBinding[]
  /** Creates and migrates the databases. */
  prepare(shards: ShardBinding[]): Promise<void>
  /** Called after the configuration binds them. Makes the new version live, unless it becomes live by itself. */
  release(): Promise<void>
}
