import { deployCommands } from './deploy/deploy.ts'
import { probeCommands } from './deploy/probe.ts'
import { rollbackCommands } from './deploy/rollback.ts'
import { importCommands } from './import/import.command.ts'
import { loadCommands } from './load/load.command.ts'
import { migrationCommands } from './migrations/migrations.ts'
import { moveCommands } from './moves/moves.ts'
import { restoreCommands } from './restore/restore.ts'
import { addShardCommands } from './shards/add-shards.ts'
import { rebalanceCommands } from './shards/rebalance.ts'
import { shardCommands } from './shards/shards.ts'
import type { Command } from './shell/command.ts'

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
