import { expect, test } from 'vitest'
import { commands } from '../../../../src/cli/commands.ts'
import { helpText } from '../../../../src/cli/help.ts'

/** From a command's line to the next one's. */
const sections = helpText.split(/\n(?= {2}[a-z])/)

test.each(Object.entries(commands))('the help has %s, with all of its options', (name, { operands, options }) => {
  const section = sections.find((text) => text.startsWith(`  ${[name, ...operands].join(' ')} `))
  expect(section, name).toBeDefined()
  expect(options.filter((option) => !section!.includes(`--${option}`))).toEqual([])
})
