import { expect, test } from 'vitest'
import { addShardCommands } from '../../../src/cli/add-shards.ts'
import { deployCommands } from '../../../src/cli/deploy.ts'
import { helpText } from '../../../src/cli/help.ts'
import { importCommands } from '../../../src/cli/import.ts'
import { loadCommands } from '../../../src/cli/load/command.ts'
import { migrationCommands } from '../../../src/cli/migrations.ts'
import { moveCommands } from '../../../src/cli/moves.ts'
import { rebalanceCommands } from '../../../src/cli/rebalance.ts'
import { restoreCommands } from '../../../src/cli/restore.ts'
import { rollbackCommands } from '../../../src/cli/rollback.ts'
import { shardCommands } from '../../../src/cli/shards.ts'

const commands = Object.entries({
  ...shardCommands,
  ...addShardCommands,
  ...rebalanceCommands,
  ...moveCommands,
  ...migrationCommands,
  ...loadCommands,
  ...importCommands,
  ...deployCommands,
  ...rollbackCommands,
  ...restoreCommands,
})

/** From a command's line to the next one's. */
const sections = helpText.split(/\n(?= {2}[a-z])/)

test.each(commands)('the help has %s, with all of its options', (name, { operands, options }) => {
  const section = sections.find((text) => text.startsWith(`  ${[name, ...operands].join(' ')} `))
  expect(section, name).toBeDefined()
  expect(options.filter((option) => !section!.includes(`--${option}`))).toEqual([])
})
