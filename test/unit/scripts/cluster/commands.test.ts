import { expect, test } from 'vitest'
import { commandOf } from '../../../../scripts/cluster/commands.ts'

test('each command is read', () => {
  const lines = ['stop 2', ' stop  3   crash ', 'stop 1 mute', 'start 3', 'add', 'status', 'help', 'quit', '', '  ']
  expect(lines.map((line) => commandOf(line, 3))).toEqual([
    { verb: 'stop', web: 2, failure: 'freeze' },
    { verb: 'stop', web: 3, failure: 'crash' },
    { verb: 'stop', web: 1, failure: 'mute' },
    { verb: 'start', web: 3 },
    { verb: 'add' },
    { verb: 'status' },
    { verb: 'help' },
    { verb: 'quit' },
    null,
    null,
  ])
})

test.each(['stop', 'stop 0', 'stop 4', 'stop -1', 'stop 1e0', 'stop web-1', 'start', 'start 4'])(
  '"%s" is refused with the numbers that exist',
  (line) => {
    expect(() => commandOf(line, 3)).toThrow(
      expect.objectContaining({ fix: expect.stringMatching(/^Use (stop|start) 1 to \1 3\.$/) }),
    )
  },
)

test.each(['stopp 1', 'stop 1 burn', 'stop 1 crash now', 'start 1 crash', 'add 2', 'quit now', 'STATUS'])(
  '"%s" is refused with the list of commands',
  (line) => {
    expect(() => commandOf(line, 3)).toThrow(
      expect.objectContaining({
        message: `"${line}" is not a command.`,
        fix: expect.stringContaining('stop 2 crash'),
      }),
    )
  },
)
