// Reads, writes, pages and uploads with @microsoft/microsoft-graph-client, and prints what it found as JSON.
import { Client, FileUpload, OneDriveLargeFileUploadTask, PageIterator } from "@microsoft/microsoft-graph-client";

const [baseUrl, token] = process.argv.slice(2);
const client = Client.init({
  baseUrl,
  customHosts: new Set(["localhost"]),
  authProvider: (done) => done(null, token),
});

const found = { me: (await client.api("/me").get()).mail };
await client.api("/me/drive/root/children").post({ name: "From npm", folder: {} });
await client.api("/me/drive/root:/From npm/a %231.txt:/content").put("hello");
found.item = (await client.api("/me/drive/root:/From npm/a %231.txt").get()).name;
found.text = await new Response(await client.api("/me/drive/root:/From npm/a %231.txt:/content").getStream()).text();

for (let number = 0; number < 7; number++) {
  await client.api(`/me/drive/root:/From npm/${number}.txt:/content`).put("x");
}
const names = [];
const page = await client.api("/me/drive/root:/From npm:/children").top(3).get();
await new PageIterator(client, page, (item) => names.push(item.name)).iterate();
found.names = names;

const body = Buffer.alloc(12 * 1024 * 1024 + 3, 7);
const file = new FileUpload(new Uint8Array(body).buffer, "large.bin", body.length);
const task = await OneDriveLargeFileUploadTask.createTaskWithFileObject(client, file, { path: "/From npm", fileName: "large.bin", rangeSize: 5 * 1024 * 1024 });
found.large = (await task.upload()).responseBody.size;

found.refused = await client.api("/me/drive/items/nothing").get().catch((error) => [error.statusCode, error.code]);
console.log(JSON.stringify(found));
