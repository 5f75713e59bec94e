import { addShardCommands } from './add-shards.ts'
import type { Command } from './command.ts'
import { deployCommands } from './deploy.ts'
import { importCommands } from './import.ts'
import { loadCommands } from './load/command.ts'
import { migrationCommands } from './migrations.ts'
import { moveCommands } from './moves.ts'
import { probeCommands } from './probe.ts'
import { rebalanceCommands } from './rebalance.ts'
import { restoreCommands } from './restore.ts'
import { rollbackCommands } from './rollback.ts'
import { shardCommands } from './shards.ts'

/** Every command, by its noun and verb. */
export const commands: Record<string, Command> = {
  ...shardCommands,
  ...addShardCommands,
  ...rebalanceCommands,
  ...moveCommands,
  ...migrationCommands,
  ...loadCommands,
  ...importCommands,
  ...deployCommands,
  ...probeCommands,
  ...rollbackCommands,
  ...restoreCommands,
}
