// node unpack.cjs FROM TO: inflate the *.br files of a folder. Python's standard library cannot read Brotli; Node can.
const { createReadStream, createWriteStream, readdirSync } = require("node:fs");
const { basename, join } = require("node:path");
const { pipeline } = require("node:stream/promises");
const { createBrotliDecompress } = require("node:zlib");

const [from, to] = process.argv.slice(2);
const packed = readdirSync(from).filter((name) => name.endsWith(".br"));
Promise.all(
  packed.map((name) =>
    pipeline(
      createReadStream(join(from, name)),
      createBrotliDecompress(),
      createWriteStream(join(to, basename(name, ".br")), { mode: 0o755 }),
    ),
  ),
);
