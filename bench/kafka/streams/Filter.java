import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** The filter in Kafka Streams: {@code Filter BROKERS INPUT OUTPUT GROUP DELIVERY LINGER_MS|default STATE}. */
public final class Filter {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Filter() {
    }

    public static void main(String[] words) {
        boolean once = words[4].equals("exactlyOnce");
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, words[3]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, words[6]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 10_000);
        settings.put(
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
            once ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        if (!words[5].equals("default")) {
            settings.put(StreamsConfig.producerPrefix("linger.ms"), words[5]);
        }

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(words[1], Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .filter((key, value) -> wanted(value))
            .to(words[2], Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
        streams.start();
    }

    private static boolean wanted(byte[] value) {
        try {
            return JSON.readTree(value).path("price").asLong() > 5_000_000;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
