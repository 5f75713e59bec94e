import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { deploy } from '../../../src/cli/deploy/deploy.ts'
import { type Deployment, drawnSecrets, openDeployment } from '../../../src/cli/deploy/deployment.ts'
import { type Location, nowhereInParticular } from '../../../src/cli/platform/resources.ts'
import type { Output } from '../../../src/cli/shell/command.ts'
import { root } from '../../../src/cli/shell/root.ts'
import type { PlatformDouble } from './double.ts'
import { smallWrangler } from './small-wrangler.ts'

export interface SmallDeployment {
  configPath: string
  /** The printed lines. */
  said: string[]
  deployment(): Deployment
  deploy(options?: { isDryRun?: boolean; operatorToken?: string; location?: Location }): Promise<Output>
  close(): void
}

const staticFile = { key: 'static/main.0123456789abcdef.js', contentType: 'text/javascript; charset=utf-8' }

/** Deploys a copy of the shipped configuration to a double, in this process, without a build and without pauses. */
export function smallDeployment(platform: PlatformDouble, code = { hash: 'one' }): SmallDeployment {
  const folder = mkdtempSync(path.join(tmpdir(), 'banyan-deploy-'))
  const configPath = path.join(folder, 'wrangler.toml')
  const asset = path.join(folder, 'main.js')
  const shipped = readFileSync(path.join(root, 'wrangler.toml'), 'utf8')
  writeFileSync(configPath, shipped.replace('[vars]', '[vars]\nPUBLIC_ORIGIN = "https://banyan.example"'))
  writeFileSync(asset, 'alert(1)')
  const said: string[] = []
  const deployment = (): Deployment => {
    const opened = openDeployment({
      config: configPath,
      environment: platform.environment,
      sleep: async () => {},
      say: (line) => void said.push(line),
    })
    return {
      ...opened,
      wrangler: smallWrangler(configPath, platform.environment, code),
      staticFiles: async () => [{ path: asset, ...staticFile }],
      drawn: drawnSecrets(path.join(folder, 'secrets.json')),
    }
  }
  return {
    configPath,
    said,
    deployment,
    deploy: async ({ isDryRun = false, operatorToken, location = nowhereInParticular } = {}) =>
      deploy(deployment(), {
        url: platform.siteUrl,
        operatorToken,
        isDryRun,
        location,
        screen: { write: (text: string) => void said.push(text.trimEnd()) },
      }),
    close: () => rmSync(folder, { recursive: true }),
  }
}
