import { manifest } from '../../dist/asset-manifest.ts'

/**
 * The URLs of a page's static files. `base` is the origin of a CDN that serves the same paths
 * (`https://cdn.example.com`). Without it, the URLs are paths on the page's origin.
 */
export function assetUrls(base = ''): { style: string; script: string; icon: string } {
  const host = base.replace(/\/+$/, '')
  return {
    style: host + manifest['style.css'].path,
    script: host + manifest['main.js'].path,
    icon: host + manifest['icon.svg'].path,
  }
}
