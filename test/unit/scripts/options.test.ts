import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { readDevOptions } from '../../../scripts/dev-options.ts'
import { parsedOptions } from '../../../scripts/options.ts'

const root = path.resolve(import.meta.dirname, '../../..')

test('npm run dev takes its own options out, and hands the others on as they are', () => {
  const usual = { isHelp: false, port: 8787, shards: undefined, config: undefined, persistTo: undefined }
  expect(readDevOptions([])).toEqual({ ...usual, rest: [] })
  const args = [
    '--port',
    '0',
    '--var',
    'A:b',
    '--shards=4',
    '--persist-to',
    'a b',
    '--remote',
    '--config',
    'x.toml',
    'y',
  ]
  expect(readDevOptions(args)).toEqual({
    ...usual,
    port: 0,
    shards: '4',
    config: 'x.toml',
    persistTo: 'a b',
    rest: ['--var', 'A:b', '--remote', 'y'],
  })
  expect(readDevOptions(['--help']).isHelp).toBe(true)
})

test.each(['abc', '', '-1', '65536', '1e3', '0x10', ' 80', '80 ', '8787.5', '+80', '٨'])(
  'npm run dev refuses the port "%s"',
  (port) => {
    const refused = (...args: string[]) =>
      expect(() => readDevOptions(args)).toThrow(expect.objectContaining({ name: 'UserError' }))
    refused(`--port=${port}`)
    if (!port.startsWith('-')) refused('--port', port)
  },
)

test('an option of npm run dev without its value is refused', () => {
  for (const name of ['--port', '--shards', '--config', '--persist-to'])
    for (const args of [[name], [name, '--remote']])
      expect(() => readDevOptions(args), args.join(' ')).toThrow(`${name} has no value.`)
})

test('a script’s unknown option, and one without its value, name those that there are', () => {
  const options = { seeds: { type: 'string', default: '5' }, first: { type: 'boolean' } } as const
  expect(parsedOptions(options, ['--first'])).toMatchObject({ seeds: '5', first: true })
  for (const args of [['--seedz', '1'], ['--seeds'], ['more']])
    expect(() => parsedOptions(options, args), args.join(' ')).toThrow(
      expect.objectContaining({ name: 'UserError', fix: 'Options: --seeds, --first.' }),
    )
})

test.each([
  ['scripts/dev.ts', ['--port', 'abc'], '--port is "abc".\nPass a whole number from 0 to 65535.\n'],
  ['scripts/dev.ts', ['--shards', 'many'], '--shards is "many".\nPass a whole number from 1 to 64.\n'],
  ['scripts/model.ts', ['--witout', 'x'], "Unknown option '--witout'\nOptions: --without.\n"],
  ['scripts/simulate.ts', ['--seeds', '1e3'], '--seeds is "1e3".\nPass a whole number from 1 to 9007199254740991.\n'],
])('%s %o ends with a sentence, and without a stack', (script, args, said) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(root, script), ...args], {
    encoding: 'utf8',
  })
  expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: '', stderr: said })
})
