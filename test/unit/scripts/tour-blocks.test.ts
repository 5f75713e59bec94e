import { expect, test } from 'vitest'
import { commandsOf, comparable, withOutputs } from '../../../scripts/tour-blocks.ts'

const document = `# Tour

Text.

\`\`\`console
$ npm run banyan -- shards list
shard-000  32768
\`\`\`

\`\`\`console
$ npm run banyan -- moves show 01aaaaaaaaaaaaaaaaaaaaaaaa
state    done
took     12 ms
\`\`\`

## Next

\`\`\`console not-run
$ npm run banyan -- load
\`\`\`
`

test('the commands are the `console` blocks of the page, without those marked as not run', () => {
  expect(commandsOf(document).map(({ args, output }) => [args.join(' '), output])).toEqual([
    ['shards list', 'shard-000  32768\n'],
    ['moves show 01aaaaaaaaaaaaaaaaaaaaaaaa', 'state    done\ntook     12 ms\n'],
  ])
})

function ran(list: string, show: string) {
  const [first, second] = commandsOf(document)
  return withOutputs(document, [
    { command: first!, args: first!.args, text: list },
    { command: second!, args: ['moves', 'show', '01bbbbbbbbbbbbbbbbbbbbbbbb'], text: show },
  ])
}

test('different figures are no difference, but different words are', () => {
  expect(ran('shard-000  16384', 'state    done\ntook     7 ms').differences).toEqual([])
  const [difference, ...others] = ran('shard-000  16384', 'state    failed\ntook     7 ms').differences
  expect(others).toEqual([])
  expect(difference).toContain('$ npm run banyan -- moves show')
  expect(ran('shard-001  32768', 'state    done\ntook     7 ms').differences).toHaveLength(1)
})

test('each output replaces the old one, with the ids of the run; everything else stays', () => {
  const { written } = ran('shard-000  16384', 'state    done\ntook     7 ms')
  expect(written).toBe(
    document
      .replace('shard-000  32768', 'shard-000  16384')
      .replace('01aaaaaaaaaaaaaaaaaaaaaaaa', '01bbbbbbbbbbbbbbbbbbbbbbbb')
      .replace('12 ms', '7 ms'),
  )
})

test('progress is not compared, because its amount depends on the machine', () => {
  const progress = (state: string) =>
    `01aaaaaaaaaaaaaaaaaaaaaaaa  shard-000 → shard-001    8%  ${state}: 0 of 0 rows copied`
  expect(comparable(`${progress('copying')}\n${progress('cutover')}\nDone.`)).toBe(
    comparable(`${progress('planned')}\nDone.`),
  )
})
