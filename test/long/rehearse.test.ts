import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import path from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'

let child: ChildProcess | null = null

afterEach(async () => {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child!.once('exit', resolve))
  process.kill(-child.pid!, 'SIGINT')
  await ended
})

/** Runs it in the project, in a process group of its own. */
function start(command: string, env: Record<string, string> = {}) {
  const started = spawn('bash', ['-c', command], { cwd: root, env: { ...process.env, ...env }, detached: true })
  const run = { child: started, output: '' }
  for (const stream of [started.stdout, started.stderr])
    stream.on('data', (chunk: Buffer) => {
      run.output += chunk
    })
  return run
}

/** docs/operating/rehearsing.md */
test('npm run rehearse: its own commands deploy to the double, the site answers, and Ctrl-C leaves nothing', async () => {
  const rehearsal = start('npm run --silent rehearse')
  child = rehearsal.child
  await vi.waitFor(() => expect(rehearsal.output).toMatch(/Ctrl-C ends|already/), { timeout: 60_000 })
  expect(rehearsal.output).toContain('Ctrl-C ends')
  const [config] = /wrangler\.double-\w+\.toml/.exec(rehearsal.output)!
  const commands = rehearsal.output.match(/^ {2}(export CLOUD|export BANYAN_URL|unset|npm run deploy).*$/gm)!

  const deployment = start(commands.join('\n'))
  const exitCode = await new Promise((resolve) => deployment.child.once('close', resolve))
  expect(exitCode, deployment.output).toBe(0)
  expect(deployment.output).toContain('2 of 2 shards in the map')
  expect((await fetch(/The deployed site: (\S+)/.exec(rehearsal.output)![1]!)).status).toBe(200)

  const ended = new Promise((resolve) => child!.once('exit', resolve))
  process.kill(-child.pid!, 'SIGINT')
  await ended
  await vi.waitFor(() => expect(existsSync(path.join(root, config))).toBe(false), { timeout: 10_000 })
  expect(globSync('.wrangler/tmp/banyan-rehearsal-*', { cwd: root })).toEqual([])
})
