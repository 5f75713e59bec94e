// Imported first: wrangler reads it when it is loaded.
process.env.WRANGLER_LOG ??= 'none'
