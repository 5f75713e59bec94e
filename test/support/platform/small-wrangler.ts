import { readFileSync } from 'node:fs'
import { UserError } from '../../../src/cli/shell/errors.ts'
import { readConfig } from '../../../src/cli/wrangler/config.ts'
import type { Upload, Wrangler } from '../../../src/cli/wrangler/subprocess.ts'
import { readTables } from '../../../src/cli/wrangler/tables.ts'

/**
 * A small wrangler, for tests that deploy a hundred times: its changing calls, in its order, without repetitions.
 * `code` stands for the bundle.
 */
export function smallWrangler(
  configPath: string,
  environment: Record<string, string>,
  code = { hash: 'one' },
): Wrangler {
  const { CLOUDFLARE_API_BASE_URL: base, CLOUDFLARE_ACCOUNT_ID: account, CLOUDFLARE_API_TOKEN: token } = environment
  async function call<T>(method: string, path: string, body?: FormData | object): Promise<T> {
    const isForm = body instanceof FormData
    const headers = { authorization: `Bearer ${token}`, 'user-agent': 'wrangler, in small' }
    const init = { method, headers, ...(body ? { body: isForm ? body : JSON.stringify(body) } : {}) }
    const response = await fetch(`${base}/accounts/${account}${path}`, init).catch((error: Error) => {
      throw new UserError(`wrangler deploy failed: ${error.message}`, 'Run it again.')
    })
    const { success, errors, result } = (await response.json()) as { success: boolean; errors: object[]; result: T }
    if (!success) throw new UserError(`wrangler deploy failed: ${JSON.stringify(errors)}`, 'Run it again.')
    return result
  }
  const config = () => readConfig(readFileSync(configPath, 'utf8'))

  async function deployTriggers(): Promise<void> {
    const { name, crons, consumedQueues } = config()
    await call('POST', `/workers/scripts/${name}/subdomain`, { enabled: true, previews_enabled: false })
    await call(
      'PUT',
      `/workers/scripts/${name}/schedules`,
      crons.map((cron) => ({ cron })),
    )
    for (const queue of consumedQueues) {
      const [found] = await call<{ queue_id: string; consumers: { consumer_id: string }[] }[]>(
        'GET',
        `/queues?name=${queue}`,
      )
      const consumer = found!.consumers[0]?.consumer_id
      const path = `/queues/${found!.queue_id}/consumers`
      const wish = { type: 'worker', script_name: name, settings: {} }
      await call(consumer ? 'PUT' : 'POST', consumer ? `${path}/${consumer}` : path, wish)
    }
  }

  return {
    bundle: async () => code.hash,
    async deploy({ tag, message, vars, secretsFile }: Upload) {
      const { name, shards, kvNamespaces } = config()
      const tables = readTables(readFileSync(configPath, 'utf8'))
      const configured = Object.fromEntries(tables.find((table) => table.name === 'vars')?.values ?? [])
      const secrets = secretsFile ? (JSON.parse(readFileSync(secretsFile, 'utf8')) as Record<string, string>) : {}
      const bindings = [
        ...shards.map(({ binding, databaseId }) => ({ type: 'd1', name: binding, id: databaseId })),
        ...kvNamespaces.map(({ binding, id }) => ({ type: 'kv_namespace', name: binding, namespace_id: id })),
        ...Object.entries({ ...configured, ...vars }).map(([name, text]) => ({ type: 'plain_text', name, text })),
        ...Object.entries(secrets).map(([name, text]) => ({ type: 'secret_text', name, text })),
      ]
      const form = new FormData()
      const annotations = { 'workers/tag': tag, 'workers/message': message }
      form.set(
        'metadata',
        JSON.stringify({ main_module: 'main.js', bindings, keep_bindings: ['secret_text'], annotations }),
      )
      form.set('main.js', new Blob(['export default {}'], { type: 'application/javascript+module' }), 'main.js')
      await call('PUT', `/workers/scripts/${name}`, form)
      await deployTriggers()
    },
    deployTriggers,
  }
}
