import { manifest } from '../../dist/asset-manifest.ts'

/**
 * Where a page finds its static files. `base` is the origin of a CDN that serves the same paths
 * (`https://cdn.example.com`); without it they are paths on the page's own origin.
 */
export function assetUrls(base = ''): { style: string; script: string; icon: string } {
  const host = base.replace(/\/+$/, '')
  return {
    style: host + manifest['style.css'].path,
    script: host + manifest['main.js'].path,
    icon: host + manifest['icon.svg'].path,
  }
}
